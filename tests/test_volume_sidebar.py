"""The sidebar of volumes, blog and the rest; previous and next at the foot of a page."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite

TWO = "volumes/1-first/02-two"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("walkthrough", tmp_path_factory.mktemp("sidebar"))
    build = site.build()
    assert build.code == 0, build.said
    return site


def soup(site, page):
    return BeautifulSoup(site.page(f"{page}.html"), "html.parser")


def sidebar(site, page):
    return soup(site, page).select_one("#pst-primary-sidebar nav.bd-docs-nav")


def lines(nav):
    """Captions and entries of a sidebar, in order."""
    return [" ".join(node.text.split()) for node in nav.select("p.caption, li")]


def test_inside_a_volume(site):
    nav = sidebar(site, TWO)
    assert lines(nav) == [
        "Volume I — First",
        "Foundations",
        "1 Chapter about One",
        "2 Chapter about Two",
        "Beyond",
        "3 Chapter about Three",
        "Other volumes",
        "Volume II — Second",
        "The series",
        "More",
        "Blog",
        "About",
    ]
    hrefs = [link["href"] for link in nav.select("a")]
    assert hrefs[:4] == ["index.html", "01-one.html", "02-two.html", "03-three.html"]
    assert "../../blog/index.html" in hrefs


@pytest.mark.parametrize("page", [TWO, "volumes/1-first/index", "blog/2026/post-two", "about"])
def test_the_current_page_is_marked_and_no_other(site, page):
    marked = sidebar(site, page).select("[aria-current=page]")
    assert [link["href"] for link in marked] == [page.split("/")[-1] + ".html"]


def test_in_the_blog(site):
    found = lines(sidebar(site, "blog/2026/unrelated"))
    assert found[:3] == ["All posts", "Newest", "Chapter 1 — Begin"]
    series = found.index("Series")
    assert found[series + 1 : series + 4] == [
        "Walk through the second",
        "Walk through the first",
        "The Guide",
    ]
    assert "Primer I (4)" in found
    assert "2024 (3)" in found


def test_every_link_leads_to_a_page(site):
    for file in site.out.rglob("*.html"):
        page = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for link in page.select("nav.bd-docs-nav a"):
            assert (file.parent / link["href"]).resolve().is_file(), (file, link)


def test_previous_and_next_stay_in_the_volume(site):
    def ways(page):
        area = soup(site, page).select_one(".prev-next-area")
        return [link["href"] for link in area.select("a")]

    assert ways(TWO) == ["01-one.html", "03-three.html"]
    assert ways("volumes/1-first/index") == ["01-one.html"]
    assert ways("volumes/1-first/03-three") == ["02-two.html", "../2-second/index.html"]
    assert ways("volumes/2-second/01-begin") == ["index.html"]
    for page in ("blog/2026/post-two", "about", "index", "volumes/index"):
        assert ways(page) == []


def test_size_does_not_grow_with_the_library(site, tmp_path):
    large = TinySite("walkthrough", tmp_path)
    entries = ""
    for i in range(2, 32):
        large.write(f"volumes/2-second/{i:02}-more.md", f"# More {i}\n")
        entries += f"{i:02}-more\n"
        large.write(
            f"blog/2026/more-{i}.md",
            f'---\ndate: "2026-01-{i % 28 + 1:02}"\ncategory: Primer II\nsummary: More.\n'
            f"chapter: volumes/2-second/{i:02}-more\n---\n# More {i}\n",
        )
    large.edit("volumes/2-second/index.md", "01-begin\n", "01-begin\n" + entries)
    build = large.build()
    assert build.code == 0, build.said
    assert str(sidebar(large, TWO)) == str(sidebar(site, TWO))
    before, after = (lines(sidebar(each, "blog/2026/post-two")) for each in (site, large))
    assert len(after) == len(before)


def test_the_landing_page_may_list_every_chapter_instead_of_the_volumes(site, tmp_path):
    other = TinySite("walkthrough", tmp_path)
    contents = "```{toctree}\nvolumes/index\nabout\n```\n"
    for volume in ("1-first", "2-second"):
        page = other.src / f"volumes/{volume}/index.md"
        head, *toctrees = page.read_text(encoding="utf-8").split("```{toctree}\n:hidden:\n")
        page.write_text(head, encoding="utf-8")
        contents += f"```{{toctree}}\nvolumes/{volume}/index\n```\n"
        for toctree in toctrees:
            for name in ("01-", "02-", "03-"):
                toctree = toctree.replace(f"\n{name}", f"\nvolumes/{volume}/{name}")
            contents += f"```{{toctree}}\n:hidden:\n{toctree}"
    other.write("index.md", f"# Home\n\n{contents}")
    other.write("volumes/index.md", "# The series\n")
    build = other.build()
    assert build.code == 0, build.said
    for page in (TWO, "volumes/2-second/01-begin", "about", "blog/2026/post-two"):
        assert str(sidebar(other, page)) == str(sidebar(site, page))
        assert soup(other, page).select(".prev-next-area a") == soup(site, page).select(
            ".prev-next-area a"
        )
    # Chapters carry the numbers of their files, and those of the next volume begin anew.
    for page in ("volumes/1-first/03-three", "volumes/2-second/01-begin"):
        article, same = (soup(each, page).select_one("article") for each in (other, site))
        assert article.h1.text == same.h1.text
    listed = soup(other, "volumes/1-first/index").select_one("article")
    assert "Chapter about Three" in listed.text
