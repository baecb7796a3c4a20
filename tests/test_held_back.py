"""Drafts and posts to come: out of the build, and in it on the day they are due."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from tiny_site import TinySite

POST = """---
date: "{date}"
{more}category: "Volume Nine"
tags: [rare tag]
author: ada
summary: Nobody may read this yet.
---
# A secret title

Secret words.
"""


@pytest.fixture
def site(tmp_path: Path) -> TinySite:
    made = TinySite("blog", tmp_path)
    made.write("blog/2026/to-come.md", POST.format(date="2026-11-25", more=""))
    made.write("blog/2026/unfinished.md", POST.format(date="2026-01-01", more="draft: true\n"))
    return made


def mentions(site: TinySite) -> list[str]:
    """Every file that gives away anything of a post that is held back."""
    words = [b"to-come", b"unfinished", b"secret", b"Secret", b"rare tag", b"rare-tag", b"volume-n"]
    ours = {name: data for name, data in site.files().items() if not name.startswith("_static/")}
    # Sphinx keeps the stems of words that no page has any more; they lead nowhere.
    ours["searchindex.js"] = re.sub(rb'"?\w+"?:\[\]', b"", ours["searchindex.js"])
    return [name for name, data in ours.items() if any(w in data + name.encode() for w in words)]


def test_nothing_of_them_is_published_and_one_line_says_so(site: TinySite) -> None:
    build = site.build(today="2026-11-24")
    assert build.code == 0, build.said
    assert build.said.count("held back") == 1
    assert "held back: 2 posts (1 draft, 1 dated after 2026-11-24)\n" in build.said
    assert mentions(site) == []


def test_a_post_comes_on_its_day_without_reading_the_rest_again(site: TinySite) -> None:
    site.build(today="2026-11-24")
    build = site.build(today="2026-11-25")
    assert build.code == 0, build.said
    assert "held back: 1 post (1 draft)\n" in build.said
    assert "1 added, 0 changed, 0 removed" in build.said
    assert "A secret title" in site.page("blog/2026/to-come.html")
    for place in ["index.html", "blog/index.html", "blog/atom.xml", "blog/tag/rare-tag/atom.xml"]:
        assert "A secret title" in site.page(place), place


def test_a_post_that_is_taken_back_leaves_nothing(site: TinySite) -> None:
    site.build(today="2026-11-25")
    build = site.build(today="2026-11-24")
    assert build.code == 0, build.said
    assert mentions(site) == []


def test_today_is_the_day_in_utc(site: TinySite) -> None:
    """The machine's zone decides nothing: in Kiritimati it is already tomorrow."""
    site.build(today="2026-11-24", zone="Pacific/Kiritimati")
    assert mentions(site) == []


def test_without_the_variable_the_clock_decides(site: TinySite) -> None:
    day = dt.datetime.now(dt.UTC).date()
    site.write("blog/2026/to-come.md", POST.format(date=day + dt.timedelta(2), more=""))
    site.write("blog/2026/unfinished.md", POST.format(date=day, more=""))
    build = site.build()
    assert f"held back: 1 post (1 dated after {day})" in build.said
    assert (site.out / "blog/2026/unfinished.html").exists()
