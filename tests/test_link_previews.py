"""What a link to a page looks like in a message."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from PIL import Image
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import link_previews

CHAPTER = "volumes/1-first/01-one"
BASE = "https://book.example/en/"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("forms", tmp_path_factory.mktemp("previews"))
    build = site.build("-j", "2")
    assert build.code == 0, build.said
    return site


def tags(site, page):
    head = BeautifulSoup(site.page(f"{page}.html"), "lxml").head
    named = [
        (m.get("property") or m.get("name"), m["content"]) for m in head.select("meta[content]")
    ]
    found = [(k, v) for k, v in named if k and (":" in k or k == "description")]
    assert len(dict(found)) == len(found), "a tag stands there twice"
    return dict(found)


def test_a_chapter_says_its_title_its_description_and_its_place(site):
    found = tags(site, CHAPTER)
    picture = found.pop("og:image")
    assert found == {
        "og:title": "One & Only",
        "og:type": "website",
        "og:site_name": "Tiny Book",
        "og:description": 'The first chapter, with "cells".',
        "og:url": f"{BASE}{CHAPTER}.html",
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": "One & Only · Volume I — Dots · Chapter 1 · Tiny Book",
        "description": 'The first chapter, with "cells".',
        "twitter:card": "summary_large_image",
    }
    assert picture.startswith(f"{BASE}_previews/")


def test_a_post_says_when_it_was_written(site):
    found = tags(site, "blog/2026/one")
    assert found["og:type"] == "article"
    assert found["og:description"] == 'A post about "one" & only, in two lines.'
    assert found["article:published_time"] == "2026-01-01"
    assert found["article:modified_time"] == "2026-01-05"
    assert "The blog · January 1, 2026" in found["og:image:alt"]
    assert "article:modified_time" not in tags(site, "blog/2026/two")


def test_a_page_without_a_description_is_described_by_its_first_words(site):
    said = "Prices are $5 or $6, a_b and a_b, 2 * 3 * 4, stress, [brackets](not a link) and 1 < 2."
    assert tags(site, "about")["description"] == said
    assert "og:title" not in tags(site, "blog/index")


def test_every_picture_is_small_and_of_the_size_that_is_said(site):
    pages = [path.relative_to(site.src).as_posix()[:-3] for path in site.src.rglob("*.md")]
    shown = {tags(site, page)["og:image"].removeprefix(BASE) for page in pages}
    assert len(shown) == len(pages)
    assert shown == {path.relative_to(site.out).as_posix() for path in site.out.glob("_previews/*")}
    for name in shown:
        with Image.open(site.out / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (1200, 630))
            assert len(picture.getcolors()) > 6  # there is something on it
        assert (site.out / name).stat().st_size < 25_000


def test_a_long_title_has_room_and_no_line_begins_with_a_dash():
    for title in ("A", "Word — " * 30, "Antidisestablishmentarianism " * 6):
        said, size = link_previews.fit(title.strip())
        face = link_previews.font("DejaVuSans-Bold.ttf", size)
        assert max(map(face.getlength, said)) <= 1200 - 2 * link_previews.EDGE
        assert len(said) * size * 1.25 <= 310
        assert not any(line.startswith("—") for line in said)


def test_a_changed_title_is_drawn_anew_and_the_rest_is_taken_from_the_cache(tmp_path):
    site = TinySite("forms", tmp_path)
    assert site.build().code == 0
    before = {path.name: path.stat().st_mtime_ns for path in site.out.glob("_previews/*")}
    old = tags(site, CHAPTER)["og:image"].rsplit("/", 1)[-1]
    site.edit(f"{CHAPTER}.md", "# One & Only", "# One & More")
    assert site.build().code == 0
    after = {path.name: path.stat().st_mtime_ns for path in site.out.glob("_previews/*")}
    new = tags(site, CHAPTER)["og:image"].rsplit("/", 1)[-1]
    assert before.keys() - after.keys() == {old}
    assert after.keys() - before.keys() == {new}
    assert all(before[name] == after[name] for name in before.keys() & after.keys())
    kept = site.src.parent / ".preview_cache"
    drawn = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert drawn.keys() == before.keys() | after.keys()
    assert site.build(out="again").code == 0
    assert drawn == {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert (site.out / "_previews" / new).read_bytes() == (kept / new).read_bytes()


def test_a_site_that_does_not_know_its_place_has_no_picture(tmp_path):
    site = TinySite("forms", tmp_path)
    assert site.build("-D", "html_baseurl=", "-D", "blog_baseurl=https://book.example").code == 0
    found = tags(site, CHAPTER)
    assert found["og:title"] == "One & Only"
    assert not found.keys() & {"og:image", "og:url"}
