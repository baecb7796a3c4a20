"""Chapters that are announced but not written: text now, links on the day they exist."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite

VOLUME = "volumes/1-first/index.md"
HEAD = '---\nannounced:\n  77-later: "A Later Chapter"\n---\n'


@pytest.fixture
def book(tmp_path):
    book = TinySite("walkthrough", tmp_path)
    text = (book.src / VOLUME).read_text(encoding="utf-8")
    text = text.split("---\n", 2)[2] if text.startswith("---") else text
    book.write(VOLUME, HEAD + text)
    about = (book.src / "index.md").read_text(encoding="utf-8")
    book.write("index.md", about + "\nSee {doc}`the future </volumes/1-first/77-later>`.\n")
    return book


def links(book, page):
    soup = BeautifulSoup(book.page(page), "lxml")
    return [a["href"] for a in soup.select("article a[href]") if "77-later" in a["href"]]


def test_a_reference_to_an_announced_chapter_is_text_that_says_so(book):
    assert book.build().code == 0
    assert "the future (in preparation)" in book.page("index.html")
    assert links(book, "index.html") == []


def test_the_list_of_chapters_shows_it_without_a_link(book):
    book.build()
    assert "A Later Chapter (in preparation)" in book.page("volumes/1-first/index.html")
    assert links(book, "volumes/1-first/index.html") == []


def test_a_reference_to_a_chapter_nobody_announced_stops_the_build(book):
    book.edit("index.md", "77-later", "78-never")
    build = book.build()
    assert build.code != 0
    assert any("index.md" in row and "78-never" in row for row in build.warnings)


def test_announcing_a_written_chapter_stops_the_build(book):
    written = next((book.src / "volumes/1-first").glob("01-*.md")).stem
    book.edit(VOLUME, "77-later", written)
    book.edit("index.md", "77-later", written)
    build = book.build()
    assert build.code != 0
    assert any(VOLUME in row and "is written" in row for row in build.warnings)


def test_a_changed_announcement_reaches_pages_that_were_not_edited(book):
    book.build()
    book.edit(VOLUME, "A Later Chapter", "Another Title")
    book.edit("index.md", "{doc}`the future </volumes/1-first/77-later>`", "")
    book.build()
    assert "Another Title (in preparation)" in book.page("volumes/1-first/index.html")
