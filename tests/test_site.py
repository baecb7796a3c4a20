"""The whole book, built once as strictly as `make html` does, and seen as its readers see it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import both_forms
import pytest
import structured
from bs4 import BeautifulSoup

ROOT = Path(__file__).parent.parent
OUTLINE = tomllib.loads((ROOT / "tests" / "outline.toml").read_text(encoding="utf-8"))
GENERATED = {"genindex.html", "search.html", "404.html"}


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "lxml")


def heading(path: Path) -> str:
    """The page's title as a reader sees it, without its number and the link mark."""
    h1 = BeautifulSoup(str(soup(path).find("h1")), "lxml").h1
    for extra in h1.select(".headerlink, .section-number"):
        extra.decompose()
    return " ".join(h1.get_text().split())


def announced_posts() -> list[tuple[str, str]]:
    """(date, title) of every announced post, oldest first."""
    posts = [(p["date"], p["title"]) for p in OUTLINE["guide"] + OUTLINE["series"]]
    posts += [(c["date"], f"Chapter {c['number']} — {c['title']}") for c in OUTLINE["chapter"]]
    return sorted(posts)


def archive(page: Path) -> list[tuple[str, str]]:
    """(date, title) of the posts that an archive page lists, in its order."""
    found = []
    for item in soup(page).select(".post-entry"):
        title = item.select_one("a").get_text(" ", strip=True)
        found.append((item.select_one("time")["datetime"], " ".join(title.split())))
    return found


def pages(site: Path) -> list[Path]:
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def test_every_post_has_its_announced_title_and_date(site: Path) -> None:
    listed = archive(site / "blog" / "index.html")
    assert listed, "the archive lists no post"
    unknown = set(listed) - set(announced_posts())
    assert not unknown, f"posts that the calendar does not announce so: {sorted(unknown)}"
    assert len(listed) == len(set(listed))
    sources = [p for p in (ROOT / "blog").glob("[0-9]*/*.md")]
    assert len(listed) == len(sources), "a post is missing from the archive"


def test_the_archive_is_newest_first(site: Path) -> None:
    dates = [date for date, _ in archive(site / "blog" / "index.html")]
    assert dates == sorted(dates, reverse=True)


def test_every_chapter_has_its_announced_title(site: Path) -> None:
    announced = {(c["volume"], c["number"]): c["title"] for c in OUTLINE["chapter"]}
    written = 0
    for page in sorted(site.glob("volumes/[0-9]-*/[0-9][0-9]-*.html")):
        volume, number = int(page.parent.name[0]), int(page.name[:2])
        assert heading(page) == announced[volume, number]
        written += 1
    assert written == len(list((ROOT / "volumes").glob("[0-9]-*/[0-9][0-9]-*.md"))) > 0


def test_every_link_and_anchor_inside_the_site_leads_somewhere(site: Path) -> None:
    broken = []
    for page in pages(site):
        if page.name == "404.html":  # its addresses are absolute: it is served from anywhere
            continue
        for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
            for node in soup(page).find_all(tag, attrs={attribute: True}):
                target = urlsplit(node[attribute])
                if target.scheme or target.netloc or target.path.startswith("/"):
                    continue
                path = (page.parent / unquote(target.path)).resolve() if target.path else page
                if path.is_dir():
                    path = path / "index.html"
                if not path.exists():
                    broken.append(f"{page.relative_to(site)} -> {node[attribute]}")
                elif target.fragment and path.suffix == ".html":
                    name = unquote(target.fragment)
                    if name != "top" and not soup(path).find(id=name):
                        broken.append(f"{page.relative_to(site)} -> {node[attribute]} (anchor)")
    assert not broken, "\n".join(sorted(set(broken)))


def test_a_work_keeps_its_address_when_others_come_and_go(site: Path) -> None:
    """An address that is counted would lead from pages that stay as they are to another work."""
    named = {
        tag["id"] for tag in soup(site / "reference" / "bibliography.html").select("[id^=cite-]")
    }
    assert len(named) > 300
    for page in pages(site):
        for link in soup(page).select('a[href*="bibliography.html#"]'):
            assert link["href"].partition("#")[2] in named | {"bibliography"}, (page, link["href"])


def test_the_page_for_wrong_addresses_works_at_any_address(site: Path) -> None:
    """A link that is relative to the address that was asked for would lead nowhere."""
    page = soup(site / "404.html")
    home = next(link["href"] for link in page.select("a[href$='/index.html']"))
    prefix = home.removesuffix("index.html")
    faults, links = [], 0
    for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
        for node in page.find_all(tag, attrs={attribute: True}):
            target = urlsplit(node[attribute])
            if target.scheme or (not target.path and target.fragment):
                continue
            links += 1
            path = site / unquote(target.path.removeprefix(prefix))
            if not target.path.startswith(prefix) or not path.exists():
                faults.append(node[attribute])
    assert links > 10
    said = {a["href"].removeprefix(prefix) for a in page.select("article p a")}
    assert {"index.html", "volumes/index.html", "blog/index.html"} <= said
    assert not faults, "\n".join(faults)


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    foreign = []
    loads = {
        "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
        "audio": "src", "embed": "src", "object": "data", "use": "href",
    }  # fmt: skip
    for page in pages(site):
        for tag, attribute in loads.items():
            for node in soup(page).find_all(tag, attrs={attribute: True}):
                if urlsplit(node[attribute]).netloc:
                    foreign.append(f"{page.relative_to(site)}: {node[attribute]}")
        for node in soup(page).find_all("link", href=True):
            kinds = set(node.get("rel", []))
            fetched = kinds & {"stylesheet", "preload", "icon", "prefetch", "preconnect"}
            if fetched and urlsplit(node["href"]).netloc:
                foreign.append(f"{page.relative_to(site)}: {node['href']}")
    for sheet in site.rglob("*.css"):
        for url in re.findall(r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)", sheet.read_text()):
            foreign.append(f"{sheet.relative_to(site)}: {url}")
    assert not foreign, "\n".join(sorted(set(foreign)))


def test_every_page_has_one_title_a_language_and_a_description(site: Path) -> None:
    faults = []
    for page in pages(site):
        name = str(page.relative_to(site))
        document = soup(page)
        if len(document.find_all("h1")) != 1:
            faults.append(f"{name}: {len(document.find_all('h1'))} h1")
        if document.html.get("lang") != "en":
            faults.append(f"{name}: no language")
        if not document.title or not document.title.get_text(strip=True):
            faults.append(f"{name}: no title")
        written = name.startswith("volumes/") or re.match(r"blog/\d+/(?!index)", name)
        if written and not document.find("meta", attrs={"name": "description"}):
            faults.append(f"{name}: no description")
    assert not faults, "\n".join(faults)


def test_ids_are_unique_and_images_have_alternative_text(site: Path) -> None:
    faults = []
    for page in pages(site):
        ids = [node["id"] for node in soup(page).find_all(id=True)]
        for twice in sorted({i for i in ids if ids.count(i) > 1}):
            faults.append(f"{page.relative_to(site)}: id {twice} twice")
        for image in soup(page).select("main img, article img"):
            if not image.get("alt"):
                faults.append(f"{page.relative_to(site)}: image without alt: {image.get('src')}")
    assert not faults, "\n".join(faults)


def test_the_markdown_of_every_page_says_what_the_page_says(site: Path) -> None:
    faults = []
    sources = [p for top in ("volumes", "blog", "reference") for p in (ROOT / top).rglob("*.md")]
    for source in [*sources, *ROOT.glob("[a-z]*.md")]:
        page = site / source.relative_to(ROOT)
        html = both_forms.of_html(page.with_suffix(".html").read_text("utf-8"), "article")
        markdown = both_forms.of_markdown(page.read_text(encoding="utf-8"))
        if difference := both_forms.difference(html, markdown):
            faults.append(f"{source.relative_to(ROOT)}: {difference}")
    assert len(sources) > 20
    assert not faults, "\n".join(faults)


def test_the_list_for_machines_names_every_page_with_a_line(site: Path) -> None:
    lines = re.findall(r"(?m)^- .*", (site / "llms.txt").read_text(encoding="utf-8"))
    pages = {p.relative_to(site).as_posix() for p in site.rglob("*.md") if "_static" not in p.parts}
    assert len(lines) == len(pages - {"index.md"})
    for page in pages - {"index.md"}:
        assert any(f"/{page}): " in line for line in lines), page


def test_structured_data_obeys_schema_org_and_what_it_names_exists(site: Path) -> None:
    faults, named, base = [], {}, ""
    for page in pages(site):
        name = page.relative_to(site).as_posix()
        things = structured.read(page.read_text(encoding="utf-8"))
        faults += [f"{name}: {fault}" for one in things for fault in structured.faults(one)]
        named[name] = structured.references(things)
        if name == "index.html":
            base = things[0]["url"]
        if re.match(r"volumes/[0-9].*/[0-9]", name):
            assert things[0]["@type"] == "Chapter", name
    assert base
    for name, urls in named.items():
        for url in urls:
            path = url.removeprefix(base) or "index.html"
            if not (site / path).is_file():
                faults.append(f"{name}: {url} is no page")
    assert not faults, "\n".join(faults)


def test_a_chapter_and_its_post_know_each_other(site: Path) -> None:
    for chapter in sorted(site.glob("volumes/[0-9]-*/[0-9][0-9]-*.html")):
        posts = [
            (chapter.parent / unquote(urlsplit(a["href"]).path)).resolve()
            for a in soup(chapter).select("article a[href*='blog/20']")
        ]
        title = f"Chapter {int(chapter.name[:2])} — {heading(chapter)}"
        post = next((p for p in posts if heading(p) == title), None)
        assert post, f"{chapter.name} does not show its post"
        back = [
            (post.parent / unquote(urlsplit(a["href"]).path)).resolve()
            for a in soup(post).select("article a[href]")
            if "volumes/" in a["href"]
        ]
        assert chapter.resolve() in back, f"{post.name} does not lead to its chapter"


def test_the_sidebar_of_a_volume_lists_its_chapters_and_marks_the_page(site: Path) -> None:
    for chapter in sorted(site.glob("volumes/[0-9]-*/[0-9][0-9]-*.html")):
        sidebar = soup(chapter).select_one(".bd-sidebar-primary")
        links = {
            (chapter.parent / unquote(urlsplit(a["href"]).path)).resolve()
            for a in sidebar.select("a[href]")
            if urlsplit(a["href"]).path
        }
        for sibling in chapter.parent.glob("[0-9][0-9]-*.html"):
            assert sibling == chapter or sibling.resolve() in links
        assert len(sidebar.select("[aria-current=page]")) == 1


def test_every_exercise_has_a_solution() -> None:
    for chapter in sorted((ROOT / "volumes").glob("*/[0-9][0-9]-*.md")):
        text = chapter.read_text(encoding="utf-8")
        exercises = re.findall(r"\{exercise(?:-start)?\}.*?\n:label: (\S+)", text)
        solved = re.findall(r"\{solution(?:-start)?\} (\S+)", text)
        open_ended = [label for label in exercises if label.endswith("-open")]
        assert len(exercises) >= 7, f"{chapter.name} has {len(exercises)} exercises"
        assert len(open_ended) == 1, f"{chapter.name}: open-ended are {open_ended}"
        unsolved = set(exercises) - set(solved) - set(open_ended)
        assert not unsolved, f"{chapter.name}: without a solution: {sorted(unsolved)}"


def test_labels_do_not_share_a_name_with_a_file() -> None:
    """ABlog makes each post's file name a label; a second one of that name would shadow it."""
    names = {p.stem for top in ("volumes", "blog", "reference") for p in (ROOT / top).rglob("*.md")}
    for top in ("volumes", "blog", "reference"):
        for page in (ROOT / top).rglob("*.md"):
            labels = re.findall(r"^\(([^)\s]+)\)=", page.read_text(encoding="utf-8"), re.M)
            assert not names & set(labels), f"{page}: {names & set(labels)}"


def test_the_glossary_is_in_order() -> None:
    text = (ROOT / "reference" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"(?m)^(?!:)(\S.*)\n  \S", text.split(":::{glossary}")[1])
    assert terms == sorted(terms, key=str.lower)


@pytest.mark.parametrize("kind", ["volumes", "blog", "reference"])
def test_the_pages_do_not_quote_the_workshop(kind: str) -> None:
    """Nothing that was only meant for the authors stays behind in the text."""
    for page in (ROOT / kind).rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"\b(TODO|FIXME|TBD|lorem ipsum|coming soon)\b", text, re.I), page


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.org/a/book.git", "[issue tracker](https://example.org/a/book/issues)"),
        ("git@example.org:a/book.git", "issue tracker"),  # no address for a browser
    ],
)
def test_pages_link_to_the_issue_tracker_where_its_address_is_known(address, shown) -> None:
    told = "import runpy; print(runpy.run_path('conf.py')['myst_substitutions']['issue_tracker'])"
    environment = {**os.environ, "REPOSITORY_URL": address}
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == shown, done.stderr
