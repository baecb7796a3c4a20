"""Mathematics laid out at build time."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_site import TinySite

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "_static"
sys.path.insert(0, str(ROOT / "_ext"))

import mathml  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("math", tmp_path_factory.mktemp("math"))
    build = site.build()
    assert build.code == 0, build.said
    return site


@pytest.fixture
def page(site):
    return BeautifulSoup(site.page("index.html"), "html.parser")


def test_formulae_are_mathml_and_no_script_is_needed(page):
    assert len(page.select("math")) == 4
    assert not [tag["src"] for tag in page.select("script[src]") if "mathjax" in tag["src"].lower()]
    assert not page.select("annotation")


def test_number_stands_beside_the_formula_and_is_cited(page):
    block = page.select_one("#equation-attention")
    assert block.select_one(".eqno").text.startswith("(1)")
    assert block.select_one(".math-scroll > math")["display"] == "block"
    assert page.select_one('p a[href="#equation-attention"]').text == "(1)"


def test_environment_outside_the_directive(page, tmp_path):
    assert len(page.select("div.math")[-1].select("mtr")) == 2
    site = TinySite("math", tmp_path)
    site.edit("index.md", "align*", "align")
    build = site.build()
    assert build.code == 1
    assert [line for line in build.warnings if re.match(r"index\.md:\d+: WARNING: numbered", line)]


def test_macros_of_the_configuration(page):
    assert "softmax" in page.select_one("#equation-attention math").text


def test_formula_not_understood_stops_with_file_and_line(tmp_path):
    site = TinySite("math", tmp_path)
    site.write("index.md", "# One\n\nText.\n\n```{math}\n\\frac{a}{\n```\n")
    build = site.build()
    assert build.code == 1
    (line,) = [line for line in build.warnings if "formula" in line]
    assert re.match(r"index\.md:5: WARNING: formula not understood: .*'}'", line)


def test_known_formulae_need_no_engine(tmp_path, monkeypatch):
    kept = tmp_path / "cache"
    first = mathml.Renderer(cache_path=kept)(r"\frac{1}{2}", display=True)

    def fail(*args, **kwargs):
        raise AssertionError("started the engine")

    monkeypatch.setattr(mathml.subprocess, "Popen", fail)
    assert mathml.Renderer(cache_path=kept)(r"\frac{1}{2}", display=True) == first
    with pytest.raises(AssertionError):
        mathml.Renderer({r"\x": "y"}, kept)(r"\frac{1}{2}", display=True)


def test_a_damaged_cache_is_made_anew(tmp_path):
    kept = tmp_path / "cache"
    kept.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    assert "<mi>x</mi>" in mathml.Renderer(cache_path=kept)("x")


def test_parallel_builds_write_the_same_site(site, tmp_path):
    other = TinySite("math", tmp_path)
    for number in range(12):
        other.write(f"page{number}.md", f"---\norphan: true\n---\n# P\n\n$x_{{{number}}}$\n")
    assert other.build("-j", "2").code == 0
    parallel = other.files()
    assert other.build(out="serial").code == 0
    same = [name for name in parallel if name.endswith(".html")]
    assert [parallel[name] for name in same] == [other.files()[name] for name in same]


def test_latex_gets_what_the_author_wrote(site):
    assert site.build(builder="latex", out="latex").code == 0
    tex = next(site.out.glob("*.tex")).read_text(encoding="utf-8")
    assert r"\frac{QK^\top}{\sqrt{d_k}}" in tex
    site.out = site.out.parent / "html"


def test_epub_has_mathml_with_text(site):
    before = site.out
    assert site.build(builder="epub", out="epub").code == 0
    text = site.page("index.xhtml")
    site.out = before
    assert 'xmlns="http://www.w3.org/1998/Math/MathML" alttext="p_θ(w | c) &lt; 1"' in text


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\frac{a}{b} \le \sqrt{2}", "a/b ≤ √2"),
        (r"x_{t-1}^2", "x_(t − 1)^2"),
        (r"\hat y \in \mathbb{R}^d", "ŷ ∈ ℝ^d"),
    ],
)
def test_formula_as_text(tex, text):
    assert mathml.to_text(tex) == text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_laid_out_or_refused_in_words(tex):
    try:
        said = mathml.to_text(tex)
    except mathml.MathError as error:
        said = str(error)
    assert isinstance(said, str)


def test_the_font_has_what_formulae_of_the_book_need():
    css = (STATIC / "book.css").read_text(encoding="utf-8")
    held: set[int] = set()
    for face in re.findall(r'"Book Math";.*?unicode-range:(.*?);', css, re.DOTALL):
        for first, last in re.findall(r"U\+([0-9A-F]+)(?:-([0-9A-F]+))?", face):
            held |= set(range(int(first, 16), int(last or first, 16) + 1))
    needed = "abcABC0123αβγθλμπσφωΓΔΣΩ∑∏∫√∂∇∞∈≤≥≈∼→⇒⊙⊤‖ℝ𝔼ℒ𝒱𝐱𝐖𝜽𝑥ℎ⟨⟩⌊⌋…⋯"
    assert {sign for sign in needed if ord(sign) not in held} == set()
