"""The PDFs of a tiny book of two volumes and a guide: what a reader of paper sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import check_tex_log
import printed_book


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("print", tmp_path_factory.mktemp("print"))
    build = site.build(builder="latex", out="latex")
    assert build.code == 0, build.said
    return site


@pytest.fixture(scope="module")
def first(site):
    return site.page("llm-primer-1.tex")


def test_there_is_a_document_for_each_volume_the_guide_and_everything(site):
    names = {path.stem for path in site.out.glob("*.tex")}
    assert names == {"llm-primer-1", "llm-primer-2", "guide-2024", "tiny-book"}


def test_a_volume_has_its_title_its_parts_and_the_numbers_of_its_files(first):
    assert r"\bookfront{Volume I}{Words \& Numbers}{A Small Volume}" in first
    assert r"pdftitle={Volume I — Words \& Numbers}" in first
    order = [r"\bookpart{}{Beginnings}", r"\booknumbered{2}", r"\bookpart{}{Ends}"]
    places = [first.index(text) for text in [*order, r"\booknumbered{4}", r"{Solutions}"]]
    assert places == sorted(places)
    assert r"\section{Chapters}" not in first  # the list of chapters is the table of contents


def test_solutions_are_at_the_end_and_linked_both_ways(first):
    exercise, solutions = first.split(r"\chapter{Solutions}")
    page = "volumes/1-first/02-two:"
    assert "Three, as in" not in exercise
    assert rf"\booksolution{{\detokenize{{{page}v1c02-ex-coins-solved}}}}" in exercise
    assert rf"\label{{\detokenize{{{page}v1c02-ex-coins}}}}" in exercise
    assert rf"\label{{\detokenize{{{page}v1c02-ex-coins-solved}}}}" in solutions
    assert rf"\hyperref[\detokenize{{{page}v1c02-ex-coins}}]" in solutions
    assert exercise.count(r"\booksolution{") == 1  # none at the question without an answer


def test_what_is_numbered_has_the_number_of_the_site(first):
    exercise, solutions = first.split(r"\chapter{Solutions}")
    assert r"\booksolutionsof{2}" in solutions
    assert r"\setcounter{equation}{0}" in solutions
    assert r"\setcounter{equation}{1}" in exercise  # the equation after the one in the solution


def test_pages_of_another_volume_are_linked_on_the_site(first):
    far = r"\sphinxhref{https://book.example/volumes/2-second/01-begin.html"
    assert far + r"\#v2c01-fig}{Fig. 1.1 of Volume II}" in first
    assert far + r"\#equation-v2c01-eq}{(1.1) of Volume II}" in first
    assert r"\DUrole{std}{\DUrole{std-ref}{A section far away}}" in first
    assert far + "}" in first
    assert r"Walkthrough: \sphinxhref{https://book.example/blog/2026/two.html}" in first


def test_everything_links_to_its_own_pages(site):
    whole = site.page("tiny-book.tex")
    assert "book.example/volumes/2-second" not in whole
    assert "book.example/blog" not in whole
    parts = re.findall(r"\\bookpart\{(.*?)\}\{(.*?)\}", whole)
    assert parts == [
        ("Volume I", r"Words \& Numbers"),
        ("", "Beginnings"),
        ("", "Ends"),
        ("Volume II", "More"),
        ("", "Guide (2024)"),
        ("", "The Walkthrough"),
        ("", "Reference"),
    ]
    assert len(re.findall(r"\\chapter\{Solutions\}", whole)) == 1


def test_the_bibliography_has_the_cited_works(first, site):
    assert "A work that is cited" in first
    assert "nobody cites" not in first
    assert "A work that is cited" not in site.page("llm-primer-2.tex")


def test_each_work_is_printed_once_in_every_document(site):
    for name in ("llm-primer-1", "tiny-book"):  # the first and the last that are made
        assert site.page(f"{name}.tex").count("A work that is cited") == 1, name


def test_code_that_the_site_folds_takes_less_room():
    tree = nodes.section()
    for mode in ("input", None):
        code = nodes.container("", nodes.literal_block("x", "x = 1"), classes=["cell_input"])
        tree += nodes.container("", code, nb_element="cell_code", hide_mode=mode)
    printed_book.BookLaTeXBuilder.set_folded_code_small(None, tree)
    folded, shown = (cell[0].children for cell in tree.children)
    raw = r"\begin{bookfolded}", r"\end{bookfolded}"
    assert (folded[0].astext().strip(), folded[-1].astext().strip()) == raw
    assert len(shown) == 1


def test_a_lab_has_the_address_of_the_live_one(first):
    assert r"\booklive{https://book.example/volumes/1-first/02-two.html\#dot-lab}" in first


def test_a_post_has_its_date_and_its_figures_no_number(site):
    guide = site.page("guide-2024.tex")
    assert r"\sphinxstyleemphasis{January 2, 2024}" in guide
    assert r"\bookplaincaption" in guide


def test_documents_that_are_no_more_are_removed(site):
    old = site.out / "llm-primer-9.tex"
    old.write_text("old")
    assert site.build(builder="latex", out="latex").code == 0
    assert not old.exists()


def test_tex_makes_a_clean_pdf(site, require_tool):
    for tool in ("latexmk", "xelatex", "rsvg-convert", "pdftotext", "pdffonts"):
        require_tool(tool, "apt install poppler-utils $(sed -n 's/^TEX_PACKAGES := //p' Makefile)")
    done = subprocess.run(
        ["latexmk", "-pdf", "-interaction=nonstopmode", "-silent", "llm-primer-1.tex"],
        cwd=site.out,
        capture_output=True,
        text=True,
        timeout=120,
    )
    log = (site.out / "llm-primer-1.log").read_text(encoding="utf-8", errors="replace")
    assert check_tex_log.faults(log) == []
    assert done.returncode == 0, done.stdout
    pdf = str(site.out / "llm-primer-1.pdf")
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True).stdout
    for said in (
        "Žofie Nováková",
        "λόγος",
        "漢字",
        "🙂",
        "Fig. 2.1.",
        "(2.1)",
        "(2.2)",
        "Chapter 4",
    ):
        assert said in text, said
    assert re.search(r"Solution on page \d", text)
    fonts = subprocess.run(["pdffonts", pdf], capture_output=True, text=True).stdout.splitlines()
    assert len(fonts) > 4
    assert all(re.search(r"\byes (yes|no) ", line) for line in fonts[2:])  # embedded


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("Missing character: There is no 漢 (U+6F22) in font X!", True),
        ("! Undefined control sequence.", True),
        ("LaTeX Warning: Hyper reference `a:b' on page 3 undefined on input line 9.", True),
        ("LaTeX Warning: There were undefined references.", True),
        (r"Overfull \hbox (5.2pt too wide) in paragraph at lines 1--2", True),
        (r"Overfull \hbox (4.9pt too wide) in paragraph at lines 1--2", False),
        (r"Overfull \vbox (12.0pt too high) has occurred while \output is active", True),
        (r"Underfull \hbox (badness 10000) in paragraph at lines 1--2", False),
    ],
)
def test_the_proofreader_finds_what_a_reader_would_see(line, counts):
    assert check_tex_log.faults(f"This is XeTeX\n{line}\nmore\n") == ([line] if counts else [])


def test_the_proofreader_reads_lines_that_tex_has_broken():
    long = "LaTeX Warning: Hyper reference `volumes/1-first/02-two:" + "x" * 60 + "' undefined."
    assert check_tex_log.faults(long[:79] + "\n" + long[79:] + "\n") == [long]


def test_the_proofreader_names_the_page_of_the_book(tmp_path, capsys):
    label = r"\label{\detokenize{volumes/1-first/02-two:here}}"
    (tmp_path / "a.tex").write_text(f"{label}\ntext\n\\label{{\\detokenize{{later:x}}}}\n")
    wide = r"Overfull \hbox (9.0pt too wide) in paragraph at lines 2--2"
    (tmp_path / "a.log").write_text(f"{wide}\nOutput written on a.pdf\n")
    assert check_tex_log.main(str(tmp_path)) == 1
    assert capsys.readouterr().out == f"a: volumes/1-first/02-two: {wide}\n"


def test_read_the_docs_installs_what_make_pdf_needs():
    root = Path(__file__).parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    needed = re.search(r"^TEX_PACKAGES := (.*)$", makefile, re.M)[1].split()
    settings = yaml.safe_load((root / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert settings["build"]["apt_packages"] == [*needed, "epubcheck"]
