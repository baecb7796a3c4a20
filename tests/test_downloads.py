"""Files to take along, on the page that lists them and on the pages of the volumes."""

from __future__ import annotations

import os

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite

VOLUME = "volumes/1-first/index.html"
NOON = 1_793_620_800  # November 2, 2026, 12:00 UTC


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return TinySite("print", tmp_path_factory.mktemp("downloads"))


def put(site, name, size=1_400_000):
    file = site.src / "_build" / "downloads" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (NOON, NOON))


def line(site, page):
    found = BeautifulSoup(site.page(page), "html.parser").select_one("p.downloads")
    return " ".join(found.text.split()) if found else None


def test_without_files_nothing_is_said(site):
    build = site.build()
    assert build.code == 0, build.said
    assert line(site, VOLUME) is None
    assert ".pdf" not in site.page("download.html")
    assert not (site.out / "downloads").exists()


def test_files_are_offered_with_size_and_date(site):
    put(site, "llm-primer-1.pdf")
    put(site, "llm-primer-1.epub", 512)
    put(site, "tiny-book.epub", 512)
    put(site, "notes.pdf")  # not one of the book's
    assert site.build().code == 0  # an incremental build
    day = "November 2, 2026"
    said = f"Take it along: PDF (1.4 MB, {day}) EPUB (1 kB, {day})"
    assert line(site, VOLUME) == said
    assert line(site, "volumes/2-second/index.html") is None
    page = BeautifulSoup(site.page("download.html"), "html.parser")
    addresses = [a["href"] for a in page.select(".body a[href^=downloads]")]
    assert addresses == [
        "downloads/llm-primer-1.pdf",
        "downloads/llm-primer-1.epub",
        "downloads/tiny-book.epub",
    ]
    assert 'href="../../downloads/llm-primer-1.pdf"' in site.page(VOLUME)
    copied = {path.name for path in (site.out / "downloads").iterdir()}
    assert copied == {"llm-primer-1.pdf", "llm-primer-1.epub", "tiny-book.epub"}


def test_a_file_that_goes_is_no_longer_offered(site):
    for name in ("llm-primer-1.pdf", "llm-primer-1.epub"):
        (site.src / "_build" / "downloads" / name).unlink()
    assert site.build().code == 0
    assert line(site, VOLUME) is None
    assert not (site.out / "downloads" / "llm-primer-1.pdf").exists()
    assert "llm-primer-1.pdf" not in site.page("download.html")
