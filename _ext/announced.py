"""Chapters that are announced but not yet written.

What an author writes: in the front matter of a volume's index page, the files and titles of the
chapters to come::

    announced:
      03-neural-networks-for-language: "Neural Networks for Language: From RNNs to Self-Attention"

A page may then refer to such a chapter as to any other (``{doc}``), and a post may name it in
``read_in_book``. What a reader gets: the title with "(in preparation)" behind it, no link, in the
text and in the lists of `{chapters}` and `{series}`. On the day the chapter's file is added, and
its line here deleted, all of these become links. A chapter that is both announced and written is a
warning; a reference to one that is neither stays the warning that it always was.
"""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

import library
from docutils import nodes
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx import addnodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)

MARK = "(in preparation)"


def chapters(env: BuildEnvironment) -> dict[str, str]:
    """The page names and titles of all announced chapters, in the order of their names."""
    found: dict[str, str] = {}
    for volume in library.volumes(env):
        told = env.metadata[volume].get("announced") or {}
        titles = json.loads(told) if isinstance(told, str) else told
        folder = volume.removesuffix("index")
        found |= {f"{folder}{name}": str(title) for name, title in titles.items()}
    return dict(sorted(found.items()))


def check(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Warn of chapters announced and written; when the list changes, write every page again."""
    now = chapters(env)
    for name in now.keys() & env.all_docs.keys():
        message = f"chapter {name} is written: take it off the list of announced chapters"
        logger.warning(message, location=(library.volume_of(name), 1), type="announced")
    before = getattr(env, "announced_chapters", now)
    env.announced_chapters = now  # type: ignore[attr-defined]
    return [] if now == before else sorted(env.all_docs)


def refer(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Put the title in the place of a reference to an announced chapter."""
    if node.get("reftype") != "doc":
        return None
    folder = posixpath.dirname(node.get("refdoc", ""))
    name = posixpath.normpath(posixpath.join("/", folder, node["reftarget"])).lstrip("/")
    title = chapters(env).get(name)
    if title is None:
        return None
    text = content.astext() if node.get("refexplicit") else title
    return nodes.inline("", f"{text} {MARK}", classes=["announced"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what looks at references and at the list."""
    app.connect("env-updated", check)
    app.connect("missing-reference", refer)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
