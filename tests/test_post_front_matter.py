"""What an author is told about a post's front matter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_site import Build, TinySite

GOOD = """---
date: "2026-03-01"
category: "Volume One"
tags: [sampling]
author: ada
summary: One sentence.
---
# A post

Text.
"""


def change(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


DATE = 'date: "2026-03-01"'
# Name of the post: its text, the line of the mistake, what the message says.
MISTAKES = {
    "no-date": (change(DATE + "\n", ""), 1, "the post has no date"),
    "empty-date": (change(DATE, "date:"), 2, "the post has no date"),
    "malformed-date": (change(DATE, 'date: "March 1st"'), 2, "date 'March 1st' is not a date"),
    "other-order": (change(DATE, 'date: "01.03.2026"'), 2, "date '01.03.2026' is not a date"),
    "no-such-day": (change(DATE, 'date: "2026-02-30"'), 2, "'2026-02-30' is not a day of the"),
    "no-such-day-unquoted": (change(DATE, "date: 2026-02-30"), 2, "'2026-02-30' is not a day of"),
    "zone": (change(DATE, 'date: "2026-03-01T00:00:00+01:00"'), 2, "has a time of day or a zone"),
    "zone-word": (change(DATE, 'date: "2026-03-01 10:00 UTC"'), 2, "has a time of day or a zone"),
    "unquoted-zone": (change(DATE, "date: 2026-03-01T00:00:00Z"), 2, "has a time of day or a zone"),
    "unquoted": (change(DATE, "date: 2026-03-01"), 2, 'needs quotes: write date: "2026-03-01"'),
    "date-list": (change(DATE, "date: [2026, 3]"), 2, "is not a date"),
    "unknown-author": (change("ada", "eve"), 5, "'eve' is not in blog_authors (known: ada, contr"),
    "one-unknown-author": (change("ada", "[ada, eve]"), 5, "author 'eve' is not in blog_authors"),
    "no-summary": (change("summary: One sentence.\n", ""), 1, "the post has no summary"),
    "empty-summary": (change("One sentence.", '""'), 6, "the summary is empty"),
    "summary-list": (change("One sentence.", "[a, b]"), 6, "summary must be one line of text"),
    "bad-tags": (change("[sampling]", "{a: b}"), 4, "tags must be a list"),
    "nested-tags": (change("[sampling]", "[[a], b]"), 4, "tags must be a plain list"),
    "updated-malformed": (
        change(DATE, DATE + "\nupdated: soon"),
        3,
        "updated 'soon' is not a date",
    ),
    "updated-before": (change(DATE, DATE + '\nupdated: "2026-02-01"'), 3, "before the date"),
    "draft-word": (change(DATE, DATE + "\ndraft: maybe"), 3, "draft must be true or false"),
    "bad-yaml": (change("category: ", "category: : "), 3, "the front matter is not valid YAML"),
    "not-a-mapping": ("---\n- a\n- b\n---\n# Title\n\nText.\n", 1, "not a list of `key: value`"),
    "no-front-matter": ("# Title\n\nText.\n", 1, "there is no front matter"),
    "not-closed": ('---\ndate: "2026-03-01"\n\n# Title\n\nText.\n', 1, "has no closing ---"),
    "no-title": (change("# A post\n\n", ""), 1, "the post has no title"),
}
UNPUBLISHED = {
    name
    for name in MISTAKES
    if re.search("date|zone|day|order|yaml|mapping|front-matter|closed|title|draft", name)
} - {"updated-malformed", "updated-before"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    made = TinySite("blog", tmp_path_factory.mktemp("front-matter"))
    for name, (text, _, _) in MISTAKES.items():
        made.write(f"blog/2026/{name}.md", text)
    made.write("blog/2026/guide.md", GOOD)  # there is a blog/2024/guide.md
    return made


@pytest.fixture(scope="module")
def build(site: TinySite) -> Build:
    return site.build()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_file_and_line(build: Build, name: str) -> None:
    _, line, message = MISTAKES[name]
    said = [row for row in build.warnings if f"blog/2026/{name}.md" in row]
    assert len(said) == 1, build.said
    assert said[0].startswith(f"blog/2026/{name}.md:{line}: WARNING: ")
    assert message in said[0]


def test_a_slug_names_one_post_whatever_the_year(build: Build) -> None:
    said = [row for row in build.warnings if "guide" in row]
    assert said == [
        "blog/2026/guide.md:1: WARNING: the slug 'guide' is already taken by blog/2024/guide: "
        "rename one file [blog.front_matter]"
    ]


def test_nothing_else_is_said_and_the_build_fails(build: Build) -> None:
    assert build.code == 1
    assert "Traceback" not in build.said
    assert "xception" not in build.said
    assert len([row for row in build.warnings if "WARNING" in row]) == len(MISTAKES) + 1


def test_a_post_without_a_date_or_title_is_published_nowhere(site: TinySite, build: Build) -> None:
    for place in ["blog/index.html", "blog/2026/index.html", "blog/atom.xml"]:
        text = site.page(place)
        listed = {name for name in MISTAKES if f"2026/{name}" in text or f'"{name}.html"' in text}
        published = set(MISTAKES) - UNPUBLISHED | {"unquoted"}
        assert listed == published, place


def test_a_mistake_is_told_again_until_it_is_mended(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.write("blog/2026/bad.md", MISTAKES["unknown-author"][0])
    first = site.build()
    again = site.build()
    assert (first.code, again.code) == (1, 1)
    assert "blog/2026/bad.md:5: WARNING: author 'eve'" in again.said
    site.write("blog/2026/bad.md", GOOD)
    assert site.build().code == 0


def test_values_reach_the_pages(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.write("blog/2026/loose.md", change("[sampling]", "sampling, 2026").replace("ada", "[ada]"))
    assert site.build().code == 0
    page = site.page("blog/2026/loose.html")
    assert 'href="../tag/2026/index.html">2026</a>' in page
    assert 'href="../author/ada-example/index.html">Ada Example</a>' in page
