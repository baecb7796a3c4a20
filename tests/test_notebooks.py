"""Notebooks: complete, with links to the site, and running away from the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from tiny_site import TinySite

ROOT = Path(__file__).parents[1]
CHAPTER = "volumes/1-first/01-one"
BASE = "https://book.example/en"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    tiny = TinySite("forms", tmp_path_factory.mktemp("notebooks"))
    build = tiny.build()
    assert build.code == 0, build.said
    return tiny


@pytest.fixture(scope="module")
def notebook(tiny):
    return nbformat.reads(tiny.page(f"{CHAPTER}.ipynb"), as_version=4)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `pip install` puts where Python looks: the folder that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("site-packages")
    left = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "llm_primer", folder / "llm_primer", ignore=left)
    return folder


def run(path: Path, installed: Path, folder: Path, monkeypatch) -> list[str]:
    """Run a notebook in a folder of its own; what its cells printed."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    made = nbformat.read(path, as_version=4)
    check = "import llm_primer; print(llm_primer.__file__)"
    made.cells.append(nbformat.v4.new_code_cell(check))
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    printed = [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in made.cells
        if cell.cell_type == "code"
    ]
    assert Path(printed[-1].strip()).is_relative_to(installed)
    return printed


def text(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def test_only_pages_with_cells_have_one_and_they_offer_it(tiny):
    assert [path.stem for path in tiny.out.rglob("*.ipynb")] == ["01-one"]
    page = BeautifulSoup(tiny.page(f"{CHAPTER}.html"), "lxml")
    line = page.select_one(".body p.downloads")
    assert line.get_text() == "Run it yourself: this page as a notebook"
    assert line.a["href"] == "01-one.ipynb"
    assert line.find_previous("h1")
    assert "ipynb" not in tiny.page("volumes/1-first/02-two.html")


def test_it_is_valid_and_the_first_cell_says_what_to_install(notebook):
    nbformat.validate(notebook)
    first = notebook.cells[0].source
    assert f"[One & Only]({BASE}/{CHAPTER}.html)" in first
    assert 'pip install "llm-primer @ git+https://git.example/tiny" matplotlib' in first
    assert [cell.id for cell in notebook.cells] == [f"cell-{i}" for i in range(len(notebook.cells))]


def test_without_an_address_it_says_where_to_stand(tmp_path):
    tiny = TinySite("forms", tmp_path)
    assert tiny.build("-D", "notebooks_repository=").code == 0
    first = json.loads(tiny.page(f"{CHAPTER}.ipynb"))["cells"][0]["source"]
    assert "pip install . matplotlib" in "".join(first)


def test_what_is_missing_is_said_in_one_line(tmp_path):
    tiny = TinySite("forms", tmp_path)
    assert tiny.build().code == 0
    (tmp_path / "jupyter_execute" / f"{CHAPTER}.ipynb").unlink()
    (tiny.out / f"{CHAPTER}.html").unlink()
    build = tiny.build("-a")
    assert build.code == 1
    (warning,) = (row for row in build.warnings if "WARNING: " in row)
    assert warning.startswith(f"{CHAPTER}.md: WARNING: no notebook of this page")
    assert "-E" in warning
    assert tiny.build("-E").code == 0


def test_it_has_every_cell_also_those_that_the_page_hides(tiny, notebook):
    source = (tiny.src / f"{CHAPTER}.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\{code-cell\} ipython3\n(?::.*\n)*((?:.|\n)*?)\n```", source)
    assert [c.source for c in notebook.cells if c.cell_type == "code"] == [c.strip() for c in cells]
    assert not any(c.get("outputs") for c in notebook.cells)


def test_its_text_has_numbers_formulae_and_links_to_the_site(notebook):
    said = text(notebook)
    assert "# 1. One & Only" in said
    assert "1 + 2 = 3 \\tag{1.1}" in said
    assert "[Two](https://book.example/en/volumes/1-first/02-two.html)" in said
    assert f"[A section]({BASE}/{CHAPTER}.html#v1c01-section)" in said
    assert f"({BASE}/_images/dot.svg)" in said
    assert "Run it yourself" not in said
    assert "\0" not in said
    targets = re.findall(r"\]\(<?([^)>]+)", said)
    assert all(target.startswith("https://") for target in targets)


def test_it_runs_away_from_the_checkout(tiny, installed, tmp_path, monkeypatch):
    printed = run(tiny.out / f"{CHAPTER}.ipynb", installed, tmp_path, monkeypatch)
    assert printed[0] == "`three` [2, '*']\n"
    assert printed[3] == "42\n"


@pytest.mark.parametrize("number", [1, 9])
def test_a_chapter_of_the_book_runs_away_from_the_checkout(
    site, installed, tmp_path, monkeypatch, number
):
    (path,) = (site / "volumes/1-how-generative-ai-works").glob(f"{number:02}-*.ipynb")
    run(path, installed, tmp_path, monkeypatch)
    assert not os.listdir(tmp_path)


def test_every_notebook_of_the_book_is_valid(site):
    for path in site.rglob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))


def test_two_builds_agree(tiny, tmp_path):
    other = TinySite("forms", tmp_path)
    assert other.build("-j", "2").code == 0
    assert other.page(f"{CHAPTER}.ipynb") == tiny.page(f"{CHAPTER}.ipynb")
