"""Show under a post's title when it was published, how long it takes to read, and where it belongs.

A reader sees "February 18, 2026 · updated March 5, 2026 · 5 min read · LLM Primer contributors" and
below it the category and the tags, each a link. It all comes from the post's front matter and text.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

import post_front_matter
from ablog.blog import Blog
from babel.dates import format_date
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxTranslator

WORDS_PER_MINUTE = 220  # silent reading of English nonfiction, a little below the mean of 238
# Not read word by word.
SKIPPED = (nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment)


class post_info(nodes.General, nodes.Element):
    """The place of the lines under the title; what they say is looked up at the writing."""


def words(node: nodes.Node) -> int:
    """The number of words that a reader reads."""
    if isinstance(node, nodes.Text):
        return len(re.findall(r"\w[\w'’-]*", str(node)))
    skipped = isinstance(node, SKIPPED) or (
        isinstance(node, nodes.Element) and "cell" in node.get("classes", ())
    )
    return 0 if skipped else sum(words(child) for child in node.children)


def insert(app: Sphinx, doctree: nodes.document) -> None:
    """Put the lines below the title of a published post."""
    docname = app.env.current_document.docname
    if docname not in post_front_matter.checked(app.env).posts:
        return
    for title in doctree.findall(nodes.title):
        minutes = max(1, math.ceil(words(doctree) / WORDS_PER_MINUTE))
        title.parent.insert(title.parent.index(title) + 1, post_info(minutes=minutes))
        break


def visit_html(translator: Any, node: post_info) -> None:
    """Write the lines: a day, an update, minutes, authors; category and tags."""
    builder = translator.builder
    docname = builder.current_docname
    post = Blog(builder.app).posts[docname]
    language = builder.config.language or "en"

    def day(when: Any) -> str:
        return f'<time datetime="{when.date()}">{format_date(when, "long", locale=language)}</time>'

    def link(collection: Any, attributes: str = "") -> str:
        uri = builder.get_relative_uri(docname, collection.docname)
        return f'<a{attributes} href="{escape(uri)}">{escape(str(collection))}</a>'

    said = [day(post.date)]
    if post.update > post.date:
        said.append(f"updated {day(post.update)}")
    said.append(f"{node['minutes']} min read")
    said += [", ".join(link(author, ' rel="author"') for author in post.author)] * bool(post.author)
    rows = [said, [link(c) for c in post.category] + [link(tag, ' rel="tag"') for tag in post.tags]]
    lines = "".join(f"<p>{' · '.join(row)}</p>\n" for row in rows if row)
    translator.body.append(f'<div class="post-info not-in-feed">\n{lines}</div>\n')
    raise nodes.SkipNode


def visit_other(translator: SphinxTranslator, node: post_info) -> None:
    """In print a post has its date in its text."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the node; it goes in after ABlog has taken its copy of the post."""
    app.setup_extension("ablog_mends")
    other = (visit_other, None)
    app.add_node(
        post_info, html=(visit_html, None), latex=other, text=other, man=other, texinfo=other
    )
    app.connect("doctree-read", insert, priority=600)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
