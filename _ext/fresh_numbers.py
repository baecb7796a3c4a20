"""Numbers of figures, tables and equations that stand on other pages are right after every build.

A figure more in one chapter moves the numbers of those behind it. Sphinx then writes that chapter
again, but not the pages that cite its figures by `{numref}` or its equations by `{eq}`: they would
keep the old numbers until somebody builds everything. Here they are written again too.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Set

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

ROLES = {"numref", "eq"}


def _cited(env: BuildEnvironment) -> dict[str, set[str]]:
    found: dict[str, set[str]] = env.__dict__.setdefault("numbers_cited", {})
    return found


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the labels whose numbers a page shows."""
    labels = {
        node["reftarget"]
        for node in doctree.findall(addnodes.pending_xref)
        if node.get("reftype") in ROLES
    }
    if labels:
        _cited(app.env)[app.env.current_document.docname] = labels


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """The page is read again, or is gone."""
    _cited(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: Set[str], other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    _cited(env).update({name: found for name, found in _cited(other).items() if name in docnames})


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages that cite something on a page whose numbers differ from those of the last build."""
    now = {
        docname: (env.toc_fignumbers.get(docname), env.toc_secnumbers.get(docname))
        for docname in env.all_docs
    }
    before = getattr(env, "numbers_before", now)
    env.numbers_before = copy.deepcopy(now)  # type: ignore[attr-defined]
    moved = {docname for docname in now if now[docname] != before.get(docname)}
    if not moved:
        return []
    standard, equations = env.domains.standard_domain, env.domains["math"].data["objects"]
    homes: dict[str, Any] = {**standard.anonlabels, **equations}
    return sorted(
        docname
        for docname, labels in _cited(env).items()
        if any(homes[label][0] in moved for label in labels if label in homes)
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Listen when Sphinx asks which pages are outdated, after it has counted the figures itself."""
    app.connect("doctree-read", note)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-get-updated", outdated, priority=900)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
