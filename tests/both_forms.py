"""The words of a page, read from its HTML and from its Markdown."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

MARKDOWN = (
    MarkdownIt("commonmark")
    .enable("table")
    .use(deflist_plugin)
    .use(dollarmath_plugin, double_inline=True)
)
# Formulae have two languages; the rest is what only a page on a screen has, such as the second of
# two files of a drawing, of which a reader sees one.
ASIDE = (
    "math, .math, .eqno, .headerlink, .backrefs, summary, script, style, button, nav.contents, "
    ".drawing-dark"
)


def words(soup: BeautifulSoup) -> list[str]:
    """The words in their order; a picture is what it is said to show."""
    for node in soup.select(ASIDE):
        node.replace_with(" ")
    for block in soup.select("dt, dd, td, th, li"):
        block.append(" ")
    for picture in soup.select("img, svg"):
        picture.replace_with(f" {picture.get('alt') or picture.get('aria-label') or ''} ")
    return re.findall(r"\w+", soup.get_text())


def of_html(text: str, article: str) -> list[str]:
    """The words of the article of an HTML page."""
    return words(BeautifulSoup(str(BeautifulSoup(text, "lxml").select_one(article)), "lxml"))


def of_markdown(text: str) -> list[str]:
    """The words of a Markdown page as any reader of Markdown would show it."""
    head, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    assert "title: " in head
    return words(BeautifulSoup(MARKDOWN.render(body), "lxml"))


def difference(html: list[str], markdown: list[str]) -> str:
    """Where the two part, for the message of a test; empty if they do not."""
    if html == markdown:
        return ""
    pairs = enumerate(zip(html, markdown, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(html), len(markdown)))
    context = slice(max(at - 6, 0), at + 8)
    return f"HTML: … {' '.join(html[context])} …; Markdown: … {' '.join(markdown[context])} …"
