"""Chapters are numbered by their files: in every part of a volume, and in each volume anew."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("walkthrough", tmp_path_factory.mktemp("numbers"))
    build = site.build()
    assert build.code == 0, build.said
    return site


def article(site, page):
    return BeautifulSoup(site.page(f"{page}.html"), "html.parser").select_one("article")


def numbers(page):
    return [number.text.strip() for number in page.select(".section-number")]


def test_numbers_go_on_in_the_next_part(site):
    assert numbers(article(site, "volumes/1-first/02-two")) == ["2.", "2.1."]
    assert numbers(article(site, "volumes/1-first/03-three")) == ["3.", "3.1."]


def test_numbers_begin_anew_in_the_next_volume(site):
    page = article(site, "volumes/2-second/01-begin")
    assert numbers(page) == ["1."]
    # Not 1.2, although the first volume's chapter 1 has a figure too.
    assert page.select_one("figcaption .caption-number").text.strip() == "Fig. 1.1"
    assert "As in Fig. 1.1, unlike Fig. 3.1." in page.text


def test_figures_equations_and_exercises_follow(site):
    page = article(site, "volumes/1-first/03-three")
    assert page.select_one("figcaption .caption-number").text.strip() == "Fig. 3.1"
    assert page.select_one(".eqno").text.strip().startswith("(3.1)")
    assert "See Fig. 3.1 and (3.1)." in page.text
    assert "Exercise 3.1" in page.select_one(".exercise").text


def test_previous_and_next_and_the_contents_show_the_same_numbers(site):
    page = BeautifulSoup(site.page("volumes/1-first/02-two.html"), "html.parser")
    assert page.select_one(".right-next .prev-next-title").text.strip().startswith("3. ")
    contents = BeautifulSoup(site.page("volumes/1-first/03-three.html"), "html.parser")
    assert "3.1. A section" in " ".join(contents.select_one("#pst-page-toc-nav").text.split())


def test_a_chapter_that_moves_changes_its_numbers_in_an_incremental_build(tmp_path):
    site = TinySite("walkthrough", tmp_path)
    site.build()
    volume = site.src / "volumes/1-first"
    (volume / "03-three.md").rename(volume / "04-three.md")
    site.edit("volumes/1-first/index.md", "03-three", "04-three")
    site.edit("blog/2026/post-three.md", "03-three", "04-three")
    build = site.build()
    assert build.code == 0, build.said
    page = article(site, "volumes/1-first/04-three")
    assert numbers(page) == ["4.", "4.1."]
    assert "See Fig. 4.1 and (4.1)." in page.text
