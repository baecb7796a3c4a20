"""What a reader's browser fetches before anything is scrolled, on the real site."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from gzip_server import serve

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))

import lean_pages  # noqa: E402

MOST_BYTES, MOST_REQUESTS = 110_000, 9
KINDS = {
    "chapters": "volumes/[0-9]-*/[0-9][0-9]-*.html",
    "posts": "blog/20*/[a-z]*.html",
    "others": "index.html blog/index.html blog/archive/index.html volumes/index.html about.html "
    "reference/*.html search.html genindex.html",
}
# How far things moved while the page came, in Chromium's count.
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def address(site):
    with serve(site, "/a/folder/") as address:
        yield address


@pytest.mark.parametrize("kind", KINDS)
def test_first_views_are_small_stay_at_home_and_do_not_move(kind, site, address, browser):
    pages = [page for pattern in KINDS[kind].split() for page in sorted(site.glob(pattern))]
    assert pages
    faults = []
    for file in pages:
        name = file.relative_to(site).as_posix()
        # A phone, and nothing remembered from the page before.
        context = browser.new_context(viewport={"width": 412, "height": 823}, is_mobile=True)
        page = context.new_page()
        page.add_init_script(SHIFTS)
        asked: dict[str, str] = {}
        sizes: dict[str, int] = {}
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.on(
            "Network.requestWillBeSent",
            lambda event, asked=asked: asked.update({event["requestId"]: event["request"]["url"]}),
        )
        session.on(
            "Network.loadingFinished",
            lambda event, sizes=sizes: sizes.update(
                {event["requestId"]: int(event["encodedDataLength"])}
            ),
        )
        page.goto(address + name, wait_until="networkidle")
        urls = [u for u in asked.values() if not u.startswith("data:") and "favicon" not in u]
        if strange := [url for url in urls if not url.startswith(address)]:
            faults.append(f"{name} asks for {strange}")
        if len(urls) > MOST_REQUESTS:
            faults.append(f"{name}: {len(urls)} requests: {[u.rsplit('/', 1)[1] for u in urls]}")
        if sum(sizes.values()) > MOST_BYTES:
            parts = {asked[i].rsplit("/", 1)[-1]: size for i, size in sizes.items() if size}
            faults.append(f"{name}: {sum(sizes.values()):,} bytes: {parts}")
        if scripts := {u.rsplit("/", 1)[1].partition("?")[0] for u in urls if ".js" in u} - {
            "book.js"
        }:
            faults.append(f"{name} loads {scripts}")
        if (moved := page.evaluate("window.shifted")) > 0:
            faults.append(f"{name}: moved by {moved}")
        context.close()
    assert not faults, "\n".join(faults)


def test_all_pictures_have_a_size_and_those_that_lie_beside_a_page_a_twin(site):
    faults = []
    for file in site.glob("[vb]*/**/*.html"):
        text = file.read_text(encoding="utf-8")
        images = re.findall(r"<img\b[^>]*>", text)
        name = file.relative_to(site)
        faults += [f"{name}: {i}" for i in images if "width=" not in i and "width:" not in i]
        modes = [len(re.findall(rf"drawing-{mode}\b", text)) for mode in ("light", "dark")]
        if modes[0] != modes[1]:
            faults.append(f"{name}: {modes} drawings for light and dark")
    assert not faults, "\n".join(faults)


def test_only_code_that_has_the_color_of_code_is_left_without_an_element(site):
    sheet = (site / "_static" / "pygments.css").read_text(encoding="utf-8")
    plain = set(re.findall(r"\w+", lean_pages.PLAIN_CODE.pattern.split("(?:")[1].split(")")[0]))
    for mode in ("light", "dark"):
        rule = rf'html\[data-theme="{mode}"\] \.highlight (?:\.(\w+) )?\{{ [^}}]*?\bcolor: (#\w+)'
        colors = dict(re.findall(rule, sheet))
        assert colors[""], mode
        assert {colors[kind] for kind in plain} == {colors[""]}, mode
