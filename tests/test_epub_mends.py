"""The EPUB, as those who check EPUBs want it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import epub_mends

DRAWING = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0L9 9"/></svg>
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    site = TinySite("pages", tmp_path_factory.mktemp("epub"))
    site.write("drawing.svg", DRAWING)
    site.write("glossary.md", "# Glossary\n\n:::{image} drawing.svg\n:alt: A line.\n:::\n")
    build = site.build("-D", "epub_show_urls=no", builder="epub", out="epub")
    assert build.code == 0, build.said
    return next(site.out.glob("*.epub"))


def test_pages_with_mathematics_are_announced(book):
    with zipfile.ZipFile(book) as packed:
        listed = BeautifulSoup(packed.read("content.opf"), "xml")
    assert listed.find("item", href="volumes/1-first/02-scores.xhtml")["properties"] == "mathml"
    assert "properties" not in listed.find("item", href="glossary.xhtml").attrs


def test_drawings_name_no_document_type(book):
    with zipfile.ZipFile(book) as packed:
        drawing = packed.read("_images/drawing.svg")
    assert b"DOCTYPE" not in drawing
    assert b"<path" in drawing


def test_what_is_of_the_web_site_stays_there(book):
    with zipfile.ZipFile(book) as packed:
        names = packed.namelist()
        text = packed.read("index.xhtml").decode()
    static = {name for name in names if name.startswith("_static/")}
    assert static == {f"_static/{name}" for name in epub_mends.SHEETS}
    assert "book.css" not in text
    assert "epub.css" in text


@pytest.fixture
def check_epub(require_tool):
    """A function that fails where epubcheck finds an error or a warning in a file."""
    require_tool("java", "apt install default-jre-headless epubcheck")
    jar = "/usr/share/java/epubcheck.jar"
    if not os.path.exists(jar):
        if os.environ.get("CI"):
            pytest.fail("epubcheck is not installed; CI must not skip this", pytrace=False)
        pytest.skip("epubcheck is not installed (get it with: apt install epubcheck)")

    def check(book):
        done = subprocess.run(
            ["java", "-jar", jar, "--failonwarnings", str(book)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def test_epubcheck_finds_nothing(book, check_epub):
    check_epub(book)


@pytest.fixture(scope="module")
def print_site(tmp_path_factory):
    site = TinySite("print", tmp_path_factory.mktemp("epub-print"))
    build = site.build(builder="epub", out="epub")
    assert build.code == 0, build.said
    return site


@pytest.fixture(scope="module")
def whole(print_site):
    return print_site.out / "tiny-book.epub"


@pytest.fixture(scope="module")
def volume(print_site):
    return print_site.out / "llm-primer-1.epub"


def read(book, name):
    with zipfile.ZipFile(book) as packed:
        return BeautifulSoup(packed.read(name), "xml")


def contents(book):
    return [(a["href"], a.text) for a in read(book, "nav.xhtml").select("nav a")]


def reading_order(book):
    package = read(book, "content.opf")
    files = {item["id"]: item["href"] for item in package.find_all("item")}
    return [files[ref["idref"]] for ref in package.find_all("itemref") if ref.get("linear") != "no"]


def test_there_is_one_for_everything_that_there_is_a_pdf_of(print_site):
    names = {path.stem for path in print_site.out.glob("*.epub")}
    assert names == {"llm-primer-1", "llm-primer-2", "guide-2024", "tiny-book"}


def test_the_table_of_contents_has_chapters_and_posts_and_no_archives(whole):
    addresses = [address for address, _ in contents(whole)]
    with zipfile.ZipFile(whole) as packed:
        names = packed.namelist()
        post = packed.read("blog/2024/part.xhtml").decode()
    chapter = addresses.index("volumes/1-first/02-two.xhtml")
    assert (
        chapter < addresses.index("blog/2024/guide.xhtml") < addresses.index("blog/2024/part.xhtml")
    )
    assert not [name for name in names if "category" in name or "search" in name]
    assert "download.xhtml" not in names
    assert "Guide (2024)" in post
    assert "category" not in post


def test_a_volume_is_read_from_its_cover_to_its_bibliography(volume):
    assert reading_order(volume) == [
        "cover.xhtml",
        "imprint.xhtml",
        "volumes/1-first/index.xhtml",
        "volumes/1-first/02-two.xhtml",
        "volumes/1-first/04-four.xhtml",
        "reference/glossary.xhtml",
        "reference/bibliography.xhtml",
    ]
    assert contents(volume)[:4] == [
        ("volumes/1-first/index.xhtml", "Volume I — Words & Numbers"),
        ("volumes/1-first/02-two.xhtml", "2. Two"),
        ("volumes/1-first/02-two.xhtml#exercises", "2.1 Exercises"),
        ("volumes/1-first/04-four.xhtml", "4. Four"),
    ]
    with zipfile.ZipFile(volume) as packed:
        pages = {name for name in packed.namelist() if name.endswith(".xhtml")}
    assert pages == {*reading_order(volume), "nav.xhtml"}


def test_what_a_volume_does_not_hold_is_on_the_site(volume):
    page = read(volume, "volumes/1-first/02-two.xhtml")
    links = {a.text: a["href"] for a in page.find_all("a", href=True)}
    other = "https://book.example/volumes/2-second/01-begin.html"
    assert links["A section far away"] == f"{other}#v2c01-section"
    assert links["Begin"] == other
    assert links["Fig. 4.1"] == "04-four.xhtml#v1c04-fig-dot"


def test_each_has_a_cover_a_name_of_its_own_and_nothing_unsaid(print_site):
    names = set()
    for book in print_site.out.glob("*.epub"):
        package = read(book, "content.opf")
        assert package.find("item", properties="cover-image")["media-type"] == "image/png"
        name = package.find("identifier").text
        assert read(book, "toc.ncx").find("meta", {"name": "dtb:uid"})["content"] == name
        names.add(name)
        assert "unknown" not in str(package)
    assert len(names) == 4
    assert "tag:book.example,2026:epub/llm-primer-1" in names
    title = read(print_site.out / "llm-primer-1.epub", "content.opf").find("title").text
    assert title == "Volume I — Words & Numbers"


def test_it_says_which_language_it_is_in_and_what_it_does_for_those_who_do_not_see(volume):
    for page in reading_order(volume):
        assert read(volume, page).html["lang"] == "en", page
    told = {
        (meta["property"], meta.text)
        for meta in read(volume, "content.opf").find_all("meta", property=True)
    }
    assert ("schema:accessModeSufficient", "textual") in told
    assert ("schema:accessibilityFeature", "MathML") in told


def test_a_lab_says_where_it_can_be_tried(volume):
    lab = read(volume, "volumes/1-first/02-two.xhtml").find(id="dot-lab")
    address = "https://book.example/volumes/1-first/02-two.html#dot-lab"
    assert lab.find("a", href=address).text == address


def test_the_solutions_are_in_the_epub(volume):
    with zipfile.ZipFile(volume) as packed:
        chapter = packed.read("volumes/1-first/02-two.xhtml").decode()
    assert "Three, as in" in chapter
    assert '<span class="eqno">' in chapter


def test_a_page_that_is_gone_is_no_longer_packed(tmp_path):
    site = TinySite("print", tmp_path)
    site.write("extra.md", "---\norphan: true\n---\n# Extra\n")
    site.edit("index.md", "download", "download\nextra")
    assert site.build(builder="epub", out="epub").code == 0
    assert ("extra.xhtml", "Extra") in contents(site.out / "tiny-book.epub")
    (site.src / "extra.md").unlink()
    site.edit("index.md", "download\nextra", "download")
    assert site.build(builder="epub", out="epub").code == 0
    with zipfile.ZipFile(site.out / "tiny-book.epub") as packed:
        assert "extra.xhtml" not in packed.namelist()


def test_epubcheck_finds_nothing_in_a_book_with_posts(print_site, check_epub):
    for book in sorted(print_site.out.glob("*.epub")):
        check_epub(book)
