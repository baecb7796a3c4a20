"""Builds spend less time on the trees that pages are while they are built.

Nothing changes for authors and readers: these measures, for all builders.

Every transform of every extension looks for its nodes in the whole page, some eighty times for each
page. Docutils does so by generators within generators, each node passing through as many as it is
deep; here one loop does it, in the same order, also where the tree changes meanwhile. Most look for
kinds that the page does not have: which ones it may have is noted as it grows.

Docutils words a message for its debugging with every step of a walk, and goes up a tree three times
for each node that it puts there; here nobody does.

Figures are numbered from an outline of each page, which is drawn when the page has been read and
kept, and not from all pages whole.

Python looks for garbage whenever 700 more objects have come than gone, in the end through all that
are alive. A page is thousands of objects that stay until it is written, so that a build looks many
times and finds little: here it looks a hundred times less often.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.builders import Builder
from sphinx.domains import Domain
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.util.nodes import NodeMatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

OBJECTS = 70_000  # a few pages; more would only cost memory


def find(node: nodes.Node, kind: type | tuple[type, ...]) -> Iterator[Any]:
    """The node and all nodes below it that are of a kind, each before its children."""
    if isinstance(node, kind):
        yield node
    # Iterators, not copies: as in docutils, what is added behind the present place is found.
    open_lists = [iter(node.children)]
    while open_lists:
        for child in open_lists[-1]:
            if isinstance(child, kind):
                yield child
            if child.children:
                open_lists.append(iter(child.children))
                break
        else:
            open_lists.pop()


@dataclass
class Kinds:
    """The kinds of nodes that a page may have, besides those made since."""

    present: set[type]
    as_of: int  # how many nodes had been made


# All kinds that this process has seen, and after how many nodes the last of a kind was made or put
# into a tree that belongs to no page.
_made: dict[type, int] = {nodes.Text: 0}
_count = 0
_pages: weakref.WeakKeyDictionary[nodes.document, Kinds] = weakref.WeakKeyDictionary()
_matching: dict[type | tuple[type, ...], list[type]] = {}  # of all kinds, those that are wanted


def _note(kind: type, count: int) -> None:
    if kind not in _made:
        _matching.clear()
    _made[kind] = count


def _make(self: nodes.Element, rawsource: str = "", *children: Any, **attributes: Any) -> None:
    global _count
    _count += 1
    _note(self.__class__, _count)
    _init(self, rawsource, *children, **attributes)


def _setup_child(self: nodes.Node, child: nodes.Node) -> None:
    child.parent = self
    page = self.document  # looked up once: it is a way up the tree
    if page:
        child.document = page
        if child.source is None:
            child.source = page.current_source
        if child.line is None:
            child.line = page.current_line
    kinds = _pages.get(page) if page else None
    # What stands in it may come from a stored tree, and then nobody has made it here.
    inside = [child]
    for node in inside:
        if kinds is None or node.__class__ not in _made:
            _note(node.__class__, _count)
        if kinds is not None:
            kinds.present.add(node.__class__)
        inside += node.children


def _look_through(page: nodes.document) -> Kinds:
    # Text is a string, and nobody hears of it being made.
    kinds = {nodes.Text, *(node.__class__ for node in find(page, nodes.Node))}
    for kind in kinds - _made.keys():
        _note(kind, 0)
    _pages[page] = Kinds(kinds, _count)
    return _pages[page]


def is_absent(page: nodes.document, wanted: type | tuple[type, ...]) -> bool:
    """Whether a page has no node of a kind for certain, mostly without looking for one."""
    kinds = _pages.get(page) or _look_through(page)
    if wanted not in _matching:
        _matching[wanted] = [kind for kind in _made if issubclass(kind, wanted)]
    matching = _matching[wanted]
    if any(kind in kinds.present for kind in matching):
        return False
    # One that was made since may have come into the page without being put there in any proper way.
    if any(_made[kind] > kinds.as_of for kind in matching):
        kinds = _look_through(page)
        return not any(kind in kinds.present for kind in matching)
    return True


def findall(
    self: nodes.Node,
    condition: type | Callable[[nodes.Node], bool] | None = None,
    include_self: bool = True,
    descend: bool = True,
    siblings: bool = False,
    ascend: bool = False,
) -> Iterator[Any]:
    """What docutils' method of this name finds, in its order."""
    if not descend or siblings or ascend:
        return _findall(self, condition, include_self, descend, siblings, ascend)
    kind: Any = nodes.Node
    test: Callable[[nodes.Node], bool] | None = None
    if isinstance(condition, type):
        kind = condition
    elif condition is not None:
        test = condition
        if isinstance(condition, NodeMatcher):
            kind = condition.classes or kind
    if isinstance(self, nodes.document) and is_absent(self, kind):
        return iter(())
    found = find(self, kind)
    if not include_self:
        found = (node for node in found if node is not self)
    return filter(test, found) if test else found


def walkabout(self: nodes.Node, visitor: nodes.NodeVisitor) -> bool:
    """Docutils' method of this name, without its messages for debugging."""
    stop, depart = False, True
    try:
        try:
            visitor.dispatch_visit(self)
        except nodes.SkipNode:
            return stop
        except nodes.SkipDeparture:
            depart = False
        try:
            for child in self.children[:]:
                if child.walkabout(visitor):
                    stop = True
                    break
        except nodes.SkipSiblings:
            pass
    except nodes.SkipChildren:
        pass
    except nodes.StopTraversal:
        stop = True
    if depart:
        visitor.dispatch_departure(self)
    return stop


# -- Numbers -----------------------------------------------------------------------------------


class Numbered(nodes.Element):
    """Stands for something with a number, of which nothing else is known."""


class Outlines(Domain):
    """Tells Sphinx what kind of number such a thing has."""

    name = "outlines"
    label = "outlines"

    def get_enumerable_node_type(self, node: nodes.Node) -> str | None:
        """The kind that was found when the page was read."""
        return node["kind"] if isinstance(node, Numbered) else None

    def merge_domaindata(self, docnames: Any, otherdata: dict[str, Any]) -> None:
        """There are no data."""


def kind_of(env: BuildEnvironment, node: nodes.Element) -> str | None:
    """The kind of number, as Sphinx finds it."""
    for domain in env.domains.sorted():
        kind = domain.get_enumerable_node_type(node)
        if isinstance(domain, StandardDomain) and not domain.get_numfig_title(node):
            continue
        if kind:
            return kind
    return None


def outline(env: BuildEnvironment, whole: nodes.Element, short: nodes.Element) -> None:
    """Copy sections, tables of contents and what stands for things with numbers, in their order."""
    for node in whole.children:
        if isinstance(node, nodes.section):
            section = nodes.section(ids=node["ids"])
            outline(env, node, section)
            short.append(section)
        elif isinstance(node, addnodes.toctree):
            short.append(addnodes.toctree(entries=node["entries"]))
        elif isinstance(node, nodes.Element):
            if node["ids"] and (kind := kind_of(env, node)):
                short.append(Numbered(kind=kind, ids=node["ids"]))
            outline(env, node, short)


def _write_doctree(self: Builder, docname: str, doctree: nodes.document, **options: bool) -> None:
    short = nodes.Element()
    outline(self.env, doctree, short)
    _outlines(self.env)[docname] = short
    _write(self, docname, doctree, **options)


def _outlines(env: BuildEnvironment) -> dict[str, nodes.Element]:
    kept: dict[str, nodes.Element] = env.__dict__.setdefault("outlines", {})
    return kept


def _number_from_outlines(self: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    kept, read = _outlines(env), env.get_doctree

    def short(docname: str) -> nodes.Element:
        if docname not in kept:  # another extension has stored its page
            kept[docname] = nodes.Element()
            outline(env, read(docname), kept[docname])
        return kept[docname]

    env.get_doctree = short  # type: ignore[method-assign]
    try:
        return _number(self, env)
    finally:
        del env.get_doctree


def _forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _outlines(env).pop(docname, None)


def _merge(app: Sphinx, env: BuildEnvironment, docnames: Set[str], other: BuildEnvironment) -> None:
    theirs = _outlines(other)
    _outlines(env).update({name: theirs[name] for name in docnames if name in theirs})


def _clear(self: BuildEnvironment, docname: str) -> None:
    # Once in any case: domains begin their lists when they are first asked to forget.
    if docname in self.all_docs or not self.__dict__.get("has_cleared"):
        self.__dict__["has_cleared"] = True
        _clear_read(self, docname)


# -- Sphinx ------------------------------------------------------------------------------------

_init = nodes.Element.__init__
_findall = nodes.Node.findall
_write = Builder.write_doctree
_clear_read = BuildEnvironment.clear_doc
_number = TocTreeCollector.assign_figure_numbers


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put all of them into their places."""
    nodes.Element.__init__ = _make
    nodes.Node.setup_child = _setup_child
    nodes.Node.findall = findall
    nodes.Node.walkabout = walkabout
    Builder.write_doctree = _write_doctree  # type: ignore[method-assign, misc]
    gc.set_threshold(OBJECTS, 20, 20)
    TocTreeCollector.assign_figure_numbers = _number_from_outlines  # type: ignore[method-assign]
    BuildEnvironment.clear_doc = _clear  # type: ignore[method-assign]
    app.add_domain(Outlines)
    app.connect("env-purge-doc", _forget)
    app.connect("env-merge-info", _merge)
    return {
        "version": "1.0",
        "env_version": 2,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
