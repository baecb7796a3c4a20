"""References are resolved without reading whole pages and packages again.

Nothing changes for authors and readers. For the number of a figure Sphinx reads the page with the
figure from the disk, twenty milliseconds each time for a chapter; here the last pages that were
read for that stay in memory. For each citation pybtex asks all installed packages whether they
bring a style; here it asks once. And of the bibliography only those works are set anew, in each
build and for each tooltip, of which something has changed.
"""

from __future__ import annotations

import functools
import weakref
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pybtex.plugin
from pybtex.style.formatting import BaseStyle
from sphinx.domains.std import StandardDomain

if TYPE_CHECKING:
    from docutils import nodes
    from pybtex.database import Entry
    from pybtex.style import FormattedEntry
    from sphinx.application import Sphinx
    from sphinx.builders import Builder
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

PAGES = 4  # most figures are referred to on their own page or on the next

# By environment and page: when the page was read, and its tree.
_pages: weakref.WeakKeyDictionary[BuildEnvironment, dict[str, tuple[int, nodes.document]]]
_pages = weakref.WeakKeyDictionary()
# By style, label and key: a work as it was, and how it was set.
_works: dict[tuple[type, bool, str, str], tuple[Entry, FormattedEntry]] = {}


def resolve_numref(
    self: StandardDomain, env: BuildEnvironment, page: str, builder: Builder, *rest: Any
) -> Any:
    """What the domain's method gives, from pages that it only looks at."""
    read, kept = env.get_doctree, _pages.setdefault(env, {})

    def get_doctree(docname: str) -> nodes.document:
        when, tree = kept.pop(docname, (None, None))
        if tree is None or when != env.all_docs[docname]:
            tree = read(docname)
        kept[docname] = env.all_docs[docname], tree
        if len(kept) > PAGES:
            del kept[next(iter(kept))]
        return tree

    env.get_doctree = get_doctree  # type: ignore[method-assign]
    try:
        return _resolve_numref(self, env, page, builder, *rest)
    finally:
        del env.get_doctree


def format_entry(self: Any, label: str, entry: Entry, bib_data: Any = None) -> FormattedEntry:
    """What the style's method of this name gives."""
    key = (type(self), self.abbreviate_names, label, entry.key)
    if key not in _works or _works[key][0] != entry:
        _works[key] = entry, _format_entry(self, label, entry, bib_data)
    return _works[key][1]


def _recall_works(app: Sphinx) -> None:
    """Begin with the works as the last build has set them."""
    now = [metadata.version(package) for package in ("pybtex", "sphinxcontrib-bibtex")]
    before = getattr(app.env, "works_set_by", now)
    app.env.works_set_by = now  # type: ignore[attr-defined]
    if before != now:
        return
    domain: Any = app.env.get_domain("cite")
    for work in domain.citations:
        name = domain.bibliographies[work.bibliography_key].style
        style = pybtex.plugin.find_plugin("pybtex.style.formatting", name)
        key = (style, style().abbreviate_names, work.formatted_entry.label, work.entry.key)
        _works[key] = work.entry, work.formatted_entry


_resolve_numref: Any = StandardDomain._resolve_numref_xref
_format_entry: Any = BaseStyle.format_entry


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put all three into their places."""
    app.setup_extension("sphinxcontrib.bibtex")
    StandardDomain._resolve_numref_xref = resolve_numref  # type: ignore[method-assign, assignment]
    if not hasattr(pybtex.plugin._load_entry_point, "cache_info"):
        pybtex.plugin._load_entry_point = functools.cache(pybtex.plugin._load_entry_point)
    BaseStyle.format_entry = format_entry
    app.connect("builder-inited", _recall_works)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
