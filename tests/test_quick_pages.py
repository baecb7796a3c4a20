"""What is done once for all pages comes out as if it were done for each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sphinx.util.docutils
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from hypothesis import given
from hypothesis import strategies as st
from pydata_sphinx_theme import toctree
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import quick_pages

EXTENSIONS = "myst_parser,sphinx_design,mathml,inline_svg,lean_pages,book_search,epub_mends"


def plain(values):
    return {k: v for k, v in vars(values).items() if k != "record_dependencies"}


def test_settings_are_those_of_sphinx_and_docutils():
    for defaults in ({"language_code": "en", "env": object()}, {"language_code": "de"}):
        options = {"defaults": defaults, "read_config_files": True}
        expected = sphinx.util.docutils._get_settings(Parser(), **options)
        for _ in range(2):
            assert plain(quick_pages.settings(Parser(), **options)) == plain(expected)
    for _ in range(2):
        made = quick_pages.default_settings(Parser)
        assert plain(made) == plain(get_default_settings(Parser))


def test_a_page_keeps_its_settings_to_itself():
    first, second = (quick_pages.settings(Parser, defaults={}) for _ in range(2))
    first.smart_quotes = "changed"
    first.record_dependencies.add("a-file")
    assert second.smart_quotes != "changed"
    assert second.record_dependencies.list == []


SECTIONS = st.recursive(
    st.lists(st.nothing(), max_size=0),
    lambda inner: st.lists(
        st.tuples(st.sampled_from(["A", "a &amp; b", '<code class="x y">c</code>']), inner),
        max_size=3,
    ),
    max_leaves=12,
)


def as_list(sections, title="Title"):
    items = "".join(
        f'<li><a class="reference internal" href="#s-{i}">{name}</a>{as_list(below, None)}</li>\n'
        for i, (name, below) in enumerate(sections)
    )
    inner = f"<ul>\n{items}</ul>\n" if items else ""
    if title is None:
        return inner
    return f'<ul>\n<li><a class="reference internal" href="#">{title}</a>{inner}</li>\n</ul>\n'


@given(SECTIONS, st.integers(0, 3))
def test_the_list_of_sections_is_that_of_the_theme(sections, shown):
    context = {"toc": as_list(sections), "theme_show_toc_level": shown}
    toctree.add_toctree_functions(None, "page", "page.html", context, None)
    expected = str(context["generate_toc_html"]())
    assert quick_pages.page_toc(context["toc"], shown) == expected


@pytest.mark.parametrize("odd", ["<math><mi>x</mi></math>", "&quot;q&quot;", "<b>x</b>", ""])
def test_lists_with_something_else_are_left_to_the_theme(odd):
    toc = as_list([("A", [])], odd or "x") if odd else ""
    assert quick_pages.page_toc(toc, 2) is None


def test_the_site_is_the_same_also_when_a_title_changes(tmp_path):
    made = []
    for name, more in (("plain", ""), ("quick", ",quick_trees,quick_pages")):
        site = TinySite("pages", tmp_path / name)
        extensions = f"extensions={EXTENSIONS}{more}"
        assert site.build("-D", extensions).code == 0
        made.append(site.files())
        source = next(path for path in sorted((site.src / "volumes").rglob("*.md")))
        text = source.read_text("utf-8")
        head = next(line for line in text.splitlines() if line.startswith("# "))
        source.write_text(text.replace(head, "# Renamed"), "utf-8")
        assert site.build("-D", extensions).code == 0
        made.append(site.files())
        assert b"Renamed" in made[-1]["volumes/1-first/01-tokens.html"]
    for plain, quick in ((made[0], made[2]), (made[1], made[3])):
        assert plain.keys() == quick.keys()
        assert not [name for name in plain if plain[name] != quick[name]]
