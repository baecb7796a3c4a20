"""What somebody who subscribes to the blog gets."""

from __future__ import annotations

import json
import random
from pathlib import Path

import atom
import lxml.etree
import lxml.html
import pytest
from tiny_site import TinySite

BASE = "https://book.example/en/latest/"
NS = {"a": "http://www.w3.org/2005/Atom"}
PATHS = [
    "blog/atom.xml",
    "blog/category/the-guide-2024/atom.xml",
    "blog/category/volume-one/atom.xml",
    "blog/tag/first-steps/atom.xml",
    "blog/tag/sampling/atom.xml",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> TinySite:
    made = TinySite("blog", tmp_path_factory.mktemp("feeds"))
    made.write(
        "blog/2026/odd.md",
        '---\ndate: "2026-03-09"\ncategory: C++ & more\ntags: [Größe, a < b]\n'
        "author: [contributors, ada]\nsummary: A bell \\x07 rings.\n---\n"
        "# Less `<than>` & *more*\n\nA bell: \x07. [Up](/index.md), "
        "[out](https://example.org/?a=1&b=2), [mail](mailto:a@b.example).\n\n"
        "![x](../figures/rise.svg)\n",
    )
    build = made.build()
    assert build.code == 0, build.said
    return made


def feed(site: TinySite, path: str = "blog/atom.xml") -> lxml.etree._Element:
    return lxml.etree.fromstring((site.out / path).read_bytes())


def entry(site: TinySite, name: str, path: str = "blog/atom.xml") -> lxml.etree._Element:
    found = feed(site, path).xpath(f"a:entry[contains(a:id, '{name}')]", namespaces=NS)
    assert len(found) == 1
    return found[0]


def content(site: TinySite, name: str) -> lxml.html.HtmlElement:
    html = entry(site, name).findtext("a:content", namespaces=NS)
    return lxml.html.fragment_fromstring(html, create_parent="div")


def test_there_is_one_feed_for_the_blog_each_category_and_each_tag(site: TinySite) -> None:
    found = {file.relative_to(site.out).as_posix() for file in site.out.rglob("*.xml")}
    more = {"blog/category/c-more/atom.xml", "blog/tag/große/atom.xml", "blog/tag/a-b/atom.xml"}
    assert found == {*PATHS, *more}


def test_every_must_of_the_standard_holds(site: TinySite) -> None:
    found = {str(file): atom.errors(file.read_bytes()) for file in site.out.rglob("atom.xml")}
    assert len(found) == 8
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_ids_differ_between_feeds_and_agree_between_their_entries(site: TinySite) -> None:
    feeds = [feed(site, path) for path in PATHS]
    assert len({each.findtext("a:id", namespaces=NS) for each in feeds}) == len(feeds)
    one, two = (
        entry(site, "walk-one", path).findtext("a:id", namespaces=NS)
        for path in ("blog/atom.xml", "blog/tag/sampling/atom.xml")
    )
    assert one == two == "tag:book.example,2026:blog/2026/walk-one"


def test_newest_first_with_title_days_summary_and_terms(site: TinySite) -> None:
    titles = feed(site, "blog/category/volume-one/atom.xml").xpath(
        "a:entry/a:title/text()", namespaces=NS
    )
    assert titles == [
        "Chapter 2 — The Second Chapter",
        "Zero comes last in the alphabet",
        "Chapter 1 — The First Chapter",
    ]
    one = entry(site, "walk-one")
    assert one.findtext("a:published", namespaces=NS) == "2026-02-18T00:00:00Z"
    assert one.findtext("a:updated", namespaces=NS) == "2026-03-05T00:00:00Z"
    said = one.find("a:summary", NS)
    assert said.text == "The chapter in one point, over two lines."
    assert said.get("type", "text") == "text"
    terms = [(c.get("term"), c.get("label")) for c in one.findall("a:category", NS)]
    assert terms == [(t, t) for t in ("Volume One", "sampling", "first steps")]


def test_all_authors_are_named(site: TinySite) -> None:
    one = entry(site, "walk-one")
    names = one.xpath("a:author/a:name/text()", namespaces=NS)
    assert names == ["Ada Example", "Tiny & contributors"]
    assert one.xpath("a:author/a:uri/text()", namespaces=NS) == ["https://ada.example/"]
    # Named nowhere: the author that conf.py names for all posts.
    assert entry(site, "guide").xpath("a:author/a:name/text()", namespaces=NS) == [
        "Tiny & contributors"
    ]


def test_the_feed_is_as_old_as_its_last_change(site: TinySite) -> None:
    days = {path: feed(site, path).findtext("a:updated", namespaces=NS) for path in PATHS}
    assert days["blog/atom.xml"] == "2026-03-09T00:00:00Z"
    assert days["blog/tag/sampling/atom.xml"] == "2026-03-05T00:00:00Z"
    assert days["blog/category/the-guide-2024/atom.xml"] == "2024-09-01T00:00:00Z"


def test_related_links_lead_to_the_chapter(site: TinySite) -> None:
    for name in ("walk-one", "guide"):
        links = entry(site, name).xpath("a:link[@rel='related']", namespaces=NS)
        assert [(link.get("href"), link.get("title")) for link in links] == [
            (f"{BASE}volumes/1-first/01-first-chapter.html", "The first chapter")
        ]


def test_the_text_is_whole_with_absolute_addresses_that_exist(site: TinySite) -> None:
    body = content(site, "walk-one")
    text = " ".join(body.text_content().split())
    assert text.startswith("The point of the chapter is in its first line")
    assert 'print("not read aloud")' in text
    assert "¶" not in text
    assert "#" not in text
    addresses = [address for *_, address, _ in body.iterlinks()]
    assert f"{BASE}_images/rise.svg" in addresses
    assert f"{BASE}blog/2026/walk-one.html#more" in addresses
    for address in addresses:
        path, _, anchor = address.removeprefix(BASE).partition("#")
        assert (site.out / path).is_file(), address
        assert not anchor or f'id="{anchor}"' in site.page(path), address


def test_what_belongs_to_the_site_stays_there(site: TinySite) -> None:
    body = content(site, "walk-one")
    assert body.xpath(".//h1 | .//script | .//*[@id]") == []
    assert "min read" not in body.text_content()


def test_odd_characters_survive(site: TinySite) -> None:
    odd = entry(site, "odd")
    assert odd.findtext("a:title", namespaces=NS) == "Less <than> & more"
    assert [c.get("term") for c in odd.findall("a:category", NS)] == [
        "C++ & more",
        "Größe",
        "a < b",
    ]
    assert "https://example.org/?a=1&b=2" in [a for *_, a, _ in content(site, "odd").iterlinks()]


@pytest.mark.parametrize(
    ("page", "feeds"),
    [
        ("index.html", PATHS[:1]),
        ("volumes/1-first/01-first-chapter.html", PATHS[:1]),
        ("search.html", PATHS[:1]),
        ("blog/index.html", PATHS[:1]),
        ("blog/2026/index.html", PATHS[:1]),
        ("blog/2026/walk-one.html", [PATHS[0], PATHS[2], PATHS[4], PATHS[3]]),
        ("blog/tag/sampling/index.html", [PATHS[0], PATHS[4]]),
        ("blog/category/volume-one/index.html", [PATHS[0], PATHS[2]]),
    ],
)
def test_the_head_of_every_page_announces_its_feeds(
    site: TinySite, page: str, feeds: list[str]
) -> None:
    root = lxml.html.fromstring(site.page(page))
    links = root.xpath("//head/link[@rel='alternate'][@type='application/atom+xml']")
    found = [(site.out / page).parent / link.get("href") for link in links]
    assert [file.resolve() for file in found] == [(site.out / path).resolve() for path in feeds]
    titles = [feed(site, path).findtext("a:title", namespaces=NS) for path in feeds]
    assert [link.get("title") for link in links] == titles


def test_the_same_bytes_at_another_time_and_place(site: TinySite, tmp_path: Path) -> None:
    first = {file: (site.out / file).read_bytes() for file in PATHS}
    again = TinySite("blog", tmp_path)
    (again.src / "blog/2026/odd.md").write_bytes((site.src / "blog/2026/odd.md").read_bytes())
    again.build("-j", "2", today="2027-05-01", zone="Pacific/Kiritimati")
    assert first == {file: (again.out / file).read_bytes() for file in PATHS}


def test_an_id_outlives_a_title_and_an_empty_tag_its_feed(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.build()
    old = entry(site, "walk-one").findtext("a:id", namespaces=NS)
    site.edit("blog/2026/walk-one.md", "# Chapter 1 — The First Chapter", "# A new title")
    site.edit("blog/2026/walk-one.md", "[sampling, first steps]", "[sampling]")
    site.edit("blog/2024/guide.md", "tags: [first steps]", "tags: [sampling]")
    assert site.build().code == 0
    one = entry(site, "walk-one")
    assert one.findtext("a:id", namespaces=NS) == old
    assert one.findtext("a:title", namespaces=NS) == "A new title"
    assert not (site.out / "blog/tag/first-steps/atom.xml").exists()
    assert not (site.out / "blog/tag/first-steps/index.html").exists()


def test_old_entries_hold_their_summary_only(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    site.build("-D", "feeds_full_text=1")
    root = feed(site)
    assert len(root.findall("a:entry", NS)) == 4
    assert len(root.findall("a:entry/a:content", NS)) == 1
    assert len(root.findall("a:entry/a:summary", NS)) == 4
    assert atom.errors((site.out / "blog/atom.xml").read_bytes()) == []


def test_a_heavy_drawing_stands_in_the_text_once(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    numbers = random.Random(0)
    path = "M" + " ".join(f"{numbers.uniform(0, 99):.3f}" for _ in range(1000))
    site.write(
        "blog/figures/rise.svg",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 99 99"><path d="{path}"/></svg>',
    )
    site.write(
        "blog/2026/drawn.md",
        '---\ndate: "2026-03-09"\ncategory: Guide\nsummary: A drawing.\n---\n# Drawn\n\nLook:\n\n'
        ":::{figure} ../figures/rise.svg\n:alt: A line.\n:::\n",
    )
    extensions = "myst_parser,post_front_matter,held_back,ablog_mends,inline_svg,feeds,post_info"
    assert site.build("-D", f"extensions={extensions}").code == 0
    page = (site.out / "blog/2026/drawn.html").read_text(encoding="utf-8")
    assert page.count("drawing-dark") == 1  # on the page there is one for each mode
    pictures = content(site, "drawn").xpath(".//img")
    assert [picture.get("alt") for picture in pictures] == ["A line."]
    assert (site.out / pictures[0].get("src").removeprefix(BASE)).is_file()


def test_addresses_without_file_endings(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    assert site.build(builder="dirhtml").code == 0
    assert atom.errors((site.out / "blog/atom.xml").read_bytes()) == []
    addresses = [address for *_, address, _ in content(site, "walk-one").iterlinks()]
    assert f"{BASE}_images/rise.svg" in addresses
    assert f"{BASE}blog/2026/walk-one/#more" in addresses


@pytest.mark.parametrize(
    ("setting", "lacks"),
    [
        ("html_baseurl=", "there is no html_baseurl"),
        ("feeds_authority=x", 'feeds_authority must be a host and a year, like "example.org,2026"'),
    ],
)
def test_a_feed_without_address_or_id_is_one_clear_line(
    tmp_path: Path, setting: str, lacks: str
) -> None:
    site = TinySite("blog", tmp_path)
    build = site.build("-D", setting)
    assert build.code == 1
    assert build.warnings == [f"WARNING: no feeds: {lacks} in conf.py [blog.feeds]"]
    assert not (site.out / "blog/atom.xml").exists()


BAD_FEEDS = json.loads((Path(__file__).parent / "bad_feeds.json").read_text("utf-8"))


@pytest.mark.parametrize("message", BAD_FEEDS)
def test_the_checker_sees_what_is_wrong(message: str) -> None:
    old, new = BAD_FEEDS[message]
    good = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><id>tag:x,2026:f</id><title>F</title>'
        "<updated>2026-01-01T00:00:00Z</updated>"
        '<link rel="self" href="https://x.example/atom.xml"/>'
        "<entry><id>tag:x,2026:e</id><title>E</title><updated>2026-01-01T00:00:00Z</updated>"
        '<author><name>A</name></author><link href="https://x.example/e"/><category term="t"/>'
        '<content type="html">&lt;a href="https://x.example/"&gt;b&lt;/a&gt;</content></entry></feed>'
    )
    assert atom.errors(good.encode()) == []
    assert old in good
    found = atom.errors(good.replace(old, new, 1).encode())
    assert len(found) == 1
    assert message in found[0]
