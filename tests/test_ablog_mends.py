"""The blog's pages: complete, valid, the same from a parallel and from an incremental build."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import lxml.html
import pytest
from tiny_site import TinySite

COLLECTIONS = [
    "blog/index.html",
    "blog/archive/index.html",
    "blog/2024/index.html",
    "blog/2026/index.html",
    "blog/category/index.html",
    "blog/category/the-guide-2024/index.html",
    "blog/category/volume-one/index.html",
    "blog/tag/index.html",
    "blog/tag/first-steps/index.html",
    "blog/tag/sampling/index.html",
    "blog/author/index.html",
    "blog/author/ada-example/index.html",
    "blog/author/tiny-contributors/index.html",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    made = TinySite("blog", tmp_path_factory.mktemp("blog"))
    build = made.build()
    assert build.code == 0, build.said
    return made


def article(site: TinySite, page: str) -> lxml.html.HtmlElement:
    return lxml.html.fromstring(site.page(page)).xpath("//article[contains(@class, 'bd-article')]")[
        0
    ]


def comparable(site: TinySite) -> dict[str, bytes]:
    """Every file, with the search index as the set of words that it leads somewhere with."""
    files = site.files()
    index = re.sub(rb'"?\w+"?:\[\],?', b"", files.pop("searchindex.js"))
    files["searchindex.js"] = b"".join(sorted(re.findall(rb"[\w/-]+", index)))
    return files


def test_the_archive_is_at_one_address(site: TinySite) -> None:
    pages = {f.relative_to(site.out).as_posix() for f in (site.out / "blog").rglob("*.html")}
    posts = {
        f"blog/{p}.html"
        for p in ("2024/guide", "2026/walk-one", "2026/walk-two", "2026/walk-two-b")
    }
    assert pages == {*COLLECTIONS, *posts}
    assert not (site.out / "blog.html").exists()


def test_newest_first_and_one_day_in_the_order_of_the_series(site: TinySite) -> None:
    titles = article(site, "blog/index.html").xpath(".//h2")
    assert [title.text_content() for title in titles] == [
        "Chapter 2 — The Second Chapter",  # part 1.10
        "Zero comes last in the alphabet",  # part 1.9
        "Chapter 1 — The First Chapter",
        "A Guide: “Begin Here”",
    ]


def test_a_post_in_the_archive_has_title_summary_date_and_category(site: TinySite) -> None:
    last = article(site, "blog/index.html").xpath(".//article")[-1]
    assert " ".join(last.text_content().split()) == (
        "A Guide: “Begin Here” September 1, 2024 · The Guide (2024) "
        "Where the guide begins, with 1 < 2 & no markup."
    )
    assert last.xpath(".//time/@datetime") == ["2024-09-01"]
    links = last.xpath(".//a/@href")
    assert links == ["2024/guide.html", "category/the-guide-2024/index.html"]


@pytest.mark.parametrize("page", COLLECTIONS)
def test_a_collection_page_is_sound(site: TinySite, page: str) -> None:
    root = lxml.html.fromstring(site.page(page))
    assert not [i for i, n in Counter(root.xpath("//@id")).items() if n > 1]
    assert len(root.xpath("//meta[@name='description']/@content")) == 1
    body = article(site, page)
    assert len(body.xpath(".//h1")) == 1
    assert body.xpath(".//h1")[0].text_content().strip()
    levels = [int(heading.tag[1]) for heading in body.xpath(".//h1|.//h2|.//h3")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert not body.xpath(".//ul/*[not(self::li)] | .//p//div | .//a//a | .//div[@class='section']")
    for address in body.xpath(".//a/@href"):
        assert ((site.out / page).parent / address).is_file(), address


def test_a_label_with_the_name_of_a_posts_file_leads_to_its_chapter(site: TinySite) -> None:
    link = article(site, "blog/2026/walk-one.html").xpath(".//p/a[contains(@href, 'walk-one')]")[0]
    assert link.get("href") == "../../volumes/1-first/01-first-chapter.html#walk-one"


def test_parallel_and_serial_builds_are_equal(site: TinySite, tmp_path: Path) -> None:
    other = TinySite("blog", tmp_path)
    for number in range(8):  # enough pages for Sphinx to share them out
        text = (other.src / "blog/2026/walk-two.md").read_text("utf-8")
        other.write(f"blog/2026/more-{number}.md", text.replace("Second", f"More {number}"))
    serial = other.build("-j", "1", out="serial")
    first = comparable(other)
    parallel = other.build("-j", "2", out="parallel")
    assert (serial.code, parallel.code) == (0, 0), parallel.said
    assert "not safe" not in parallel.said
    assert comparable(other) == first


EDITS = {
    "title": ("blog/2026/walk-two.md", "# Chapter 2 — The Second Chapter", "# Another title"),
    "date": ("blog/2024/guide.md", '"2024-09-01"', '"2024-09-02"'),
    "summary": ("blog/2026/walk-one.md", "The chapter in one point", "All of it"),
    "tags": ("blog/2024/guide.md", "[first steps]", "[last steps]"),
    "category": ("blog/2024/guide.md", "The Guide (2024)", "The Old Guide"),
    "text": ("blog/2026/walk-one.md", "The point of the chapter", "The one point"),
}


def test_an_incremental_build_equals_a_fresh_one(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.build(out="kept")
    for name, (path, old, new) in EDITS.items():
        site.edit(path, old, new)
        build = site.build(out="kept")
        assert build.code == 0, build.said
        kept = comparable(site)
        site.build(out=f"fresh-{name}")
        fresh = comparable(site)
        assert sorted(kept) == sorted(fresh), name
        assert [file for file in fresh if fresh[file] != kept[file]] == [], name


def test_a_post_that_comes_or_goes_shows_everywhere(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.build()
    text = (site.src / "blog/2026/walk-two.md").read_text("utf-8")
    site.write("blog/2026/new.md", text.replace("02-19", "04-01").replace("Second", "Newest"))
    assert site.build().code == 0
    assert "The Newest Chapter" in site.page("index.html")
    assert "The Newest Chapter" in site.page("blog/index.html")
    (site.src / "blog/2026/new.md").unlink()
    assert site.build().code == 0
    assert "The Newest Chapter" not in site.page("index.html")
    assert "The Newest Chapter" not in site.page("blog/index.html")


def test_nothing_is_read_or_written_again_when_nothing_changed(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.build()
    build = site.build()
    assert "0 added, 0 changed, 0 removed" in build.said
    assert "no targets are out of date" in build.said


def test_print_has_no_list_of_posts_and_does_not_crash(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    build = site.build(builder="latex", out="latex")
    assert build.code == 0, build.said


def test_dates_do_not_follow_the_machines_language(site: TinySite) -> None:
    times = article(site, "blog/tag/index.html").xpath(".//time/text()")
    assert times[0] == "February 18, 2026"
