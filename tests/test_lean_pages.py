"""Pages with one style sheet and one script, which do what the theme's dozen did."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import sys
import threading
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from tiny_site import TinySite

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))

import lean_pages  # noqa: E402

TOKENS = "volumes/1-first/01-tokens.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("pages", tmp_path_factory.mktemp("pages"))
    build = site.build("-j", "2")
    assert build.code == 0, build.said
    return site


@pytest.fixture(scope="module")
def address(site):
    """The site on a server, in a folder below its root."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site.out.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{site.out.name}/"
    server.shutdown()


@pytest.fixture
def page(browser):
    """A page on which any error of a script, and any address that is missing, fails the test."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    faults, page.asked = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.on(
        "response",
        lambda answer: (
            faults.append(answer.url)
            if answer.status >= 400 and "favicon" not in answer.url
            else None
        ),
    )
    yield page
    page.close()
    assert not faults


def test_a_page_asks_for_one_sheet_and_one_script(site):
    soup = BeautifulSoup(site.page(TOKENS), "html.parser")
    sheets = [tag["href"] for tag in soup.select("link[rel=stylesheet]")]
    scripts = [tag["src"] for tag in soup.select("script[src]")]
    assert [re.sub(r"\?v=\w{8}$", "", sheet) for sheet in sheets] == ["../../_static/site.css"]
    assert [re.sub(r"\?v=\w{8}$", "", script) for script in scripts] == ["../../_static/book.js"]


def test_nothing_of_the_icon_font_is_left(site):
    names = {file.name for file in site.out.rglob("*")}
    assert not {"fontawesome.js", "fa-solid-900.woff2", "searchindex.js"} & names
    faces = re.findall(r"@font-face\{([^}]*)\}", site.page("_static/site.css"))
    assert {re.search(r'font-family:"?([^;"]*)', face)[1] for face in faces} == {"Book Math"}


def test_every_address_in_the_sheet_exists(site):
    css = site.page("_static/site.css")
    for found in re.findall(r"url\(['\"]?([^)'\"]+)", css):
        if not found.startswith(("data:", "#")):
            assert (site.out / "_static" / found).is_file(), found


def test_all_icons_that_pages_name_are_drawn(site):
    css = site.page("_static/site.css")
    used = set()
    for file in site.out.rglob("*.html"):
        used |= set(re.findall(r"fa-[a-z-]+", file.read_text(encoding="utf-8")))
    used -= {"fa-solid", "fa-lg", "fa-fw"}
    assert used
    assert {icon for icon in used if not re.search(rf"\.{icon}\{{--icon:", css)} == set()


def test_a_build_without_changes_leaves_the_sheet(site):
    sheet = site.out / "_static" / "site.css"
    before = sheet.stat().st_mtime_ns
    assert site.build().code == 0
    assert sheet.stat().st_mtime_ns == before


def test_a_class_that_is_new_brings_its_rules(tmp_path):
    site = TinySite("pages", tmp_path)
    assert site.build().code == 0
    assert ".sd-badge" not in site.page("_static/site.css")
    site.edit("glossary.md", "A score", "{bdg-primary}`new` A score")
    assert site.build().code == 0
    assert ".sd-badge" in site.page("_static/site.css")
    assert ".closed-box" in site.page("_static/site.css"), "forgot the pages that stayed"


def sheet_versions(site):
    said = "".join(page.read_text(encoding="utf-8") for page in site.out.rglob("*.html"))
    return set(re.findall(r"_static/site\.css\?v=(\w+)", said))


def test_another_sheet_has_another_address_on_all_pages(tmp_path):
    site = TinySite("pages", tmp_path)
    assert site.build().code == 0
    (first,) = sheet_versions(site)
    site.edit("glossary.md", "A score", "{bdg-primary}`new` A score")
    assert site.build().code == 0
    (second,) = sheet_versions(site)
    assert second != first
    css = site.page("_static/site.css").encode()
    assert second == hashlib.sha256(css).hexdigest()[:8]

    before = {page: page.stat().st_mtime_ns for page in site.out.rglob("volumes/**/*.html")}
    site.edit("glossary.md", "`new` A score", "`new` A very good score")
    assert site.build().code == 0
    assert sheet_versions(site) == {second}
    assert {page: page.stat().st_mtime_ns for page in before} == before, "written without need"


def test_epub_keeps_its_own_sheets(site):
    before = site.out
    assert site.build("-D", "epub_show_urls=no", builder="epub", out="epub").code == 0
    text = site.page("index.xhtml")
    assert "epub.css" in text
    assert "site.css" not in text
    site.out = before


@pytest.mark.parametrize(
    ("css", "reduced"),
    [
        (".here{a:b}.gone{a:b}", ".here{a:b}"),
        (".here .gone, p > .here {\n  a: b;\n}", "p>.here{a:b}"),
        ("@media print{.gone{a:b}}@media screen{#here{a:b}}", "@media screen{#here{a:b}}"),
        (".here:not(.gone){a:b}", ".here:not(.gone){a:b}"),
        ('p::after{color:red;content:"\\f303"}', "p::after{color:red}"),
        ("p::after{content:var(--pst-icon-tip)}", ""),
        ('p::after{content:"}.gone{"}', 'p::after{content:"}.gone{"}'),
        (".a\\:b{c:d}", ".a\\:b{c:d}"),
        ('@font-face{font-family:"Font Awesome 7"}p{a:b}', "p{a:b}"),
        ("p{width:calc(1px + 2px)}", "p{width:calc(1px + 2px)}"),
        (":is(.here,.gone),.gone:is(p,q){a:b}", ":is(.here,.gone){a:b}"),
    ],
)
def test_rules_for_nothing_are_left_out(css, reduced):
    assert lean_pages.reduce(css, {"here", "a:b"}) == reduced


def test_variables_that_nobody_reads_are_left_out():
    css = ":root{--a:1;--b:var(--a);--c:'}';--d:2}p{x:var(--b)}"
    assert lean_pages.drop_variables(css, "") == ":root{--a:1;--b:var(--a);}p{x:var(--b)}"
    assert "--d:2" in lean_pages.drop_variables(css, "var(--d)")


# -- In a browser ------------------------------------------------------------------------------


def test_first_view_is_small_and_stays_at_home(page, address):
    page.goto(address + TOKENS, wait_until="networkidle")
    assert len(page.asked) <= 9
    assert [url for url in page.asked if not url.startswith(address)] in ([], [page.asked[-1]])
    assert all(url.startswith(address.split("/html")[0]) for url in page.asked)


def test_dark_mode_follows_the_system_and_the_switch(page, address):
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    button = page.locator(".theme-switch-button").first
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    page.locator(".theme-change-button[data-mode=light]").first.click()
    assert page.evaluate(theme) == "light"
    page.reload()
    assert page.evaluate(theme) == "light"


def test_sidebar_is_folded_on_a_wide_screen_and_a_dialog_on_a_phone(page, address):
    page.goto(address)
    sidebar = page.locator("#pst-primary-sidebar")
    page.locator(".primary-toggle").click()
    sidebar.wait_for(state="hidden")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address)
    page.locator(".primary-toggle").click()
    dialog = page.locator("#pst-primary-sidebar-modal")
    expect(dialog.get_by_role("link", name="Volume I")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.classList.contains('primary-toggle')")


def test_solutions_are_closed_until_asked_for_or_linked_to(page, address):
    page.goto(address + TOKENS)
    answer = page.get_by_text("Forty-two.")
    expect(answer).to_be_hidden()
    button = page.get_by_role("button", name="Solution to the first exercise")
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    expect(answer).to_be_visible()
    page.goto(address)
    page.goto(address + TOKENS + "#the-answer")
    expect(answer).to_be_visible()


def test_code_is_copied_without_prompts_and_results(page, address, browser):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(address + TOKENS)
    page.locator("div.highlight").first.hover()
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == 'merge_pairs("aa")'


@pytest.mark.parametrize("key", ["/", "Control+k"])
def test_search_opens_by_a_key_and_leads_to_the_section(page, address, key):
    page.goto(address, wait_until="networkidle")
    page.asked.clear()
    page.keyboard.press(key)
    page.get_by_role("searchbox").type("merging pai")
    link = page.get_by_role("dialog").get_by_role("link", name="How they are made")
    link.wait_for()
    assert len(page.asked) < 10
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/01-tokens.html#how-they-are-made")


def test_search_keeps_to_a_scope_and_says_when_there_is_nothing(page, address):
    page.goto(address + TOKENS)
    page.get_by_role("button", name="Search").first.click()
    page.get_by_role("searchbox").type("tokenizers")
    page.locator(".search-status", has_text="section").wait_for()
    page.get_by_label("Where to search").select_option(label="Volume I")
    page.locator(".search-status", has_text="1 section").wait_for()
    page.get_by_role("searchbox").fill("zebra")
    page.locator(".search-status", has_text="Nothing found.").wait_for()


def test_search_works_for_pages_on_a_disk(page, site):
    page.goto((site.out / TOKENS).as_uri())
    page.keyboard.press("/")
    page.get_by_role("searchbox").type("softmax")
    page.get_by_role("dialog").get_by_role("link", name="logit").wait_for()


def test_without_a_script_all_is_readable(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + TOKENS)
    expect(page.get_by_text("Forty-two.")).to_be_visible()
    expect(page.locator(".search-button-field")).to_be_hidden()
    expect(page.locator(".theme-switch-container")).to_be_hidden()
    page.goto(address + "search.html")
    expect(page.get_by_role("link", name="index", exact=True)).to_be_visible()
    context.close()


def test_wide_formulae_and_code_can_be_scrolled_with_the_keyboard(page, address):
    page.set_viewport_size({"width": 200, "height": 800})
    page.goto(address + "volumes/1-first/02-scores.html", wait_until="load")
    assert page.evaluate(
        "[...document.querySelectorAll('.math-scroll')]"
        ".every(box => box.tabIndex === 0 || box.scrollWidth <= box.clientWidth + 1)"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
