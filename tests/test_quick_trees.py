"""Trees are walked as docutils walks them, and numbers are those that Sphinx counts."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from docutils import nodes
from hypothesis import given
from hypothesis import strategies as st
from sphinx.util.docutils import new_document
from sphinx.util.nodes import NodeMatcher
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import quick_trees

KINDS = (nodes.paragraph, nodes.emphasis, nodes.strong)


def by_docutils(node, kind):
    """What docutils does, in its own words."""
    if isinstance(node, kind):
        yield node
    for child in node.children:
        yield from by_docutils(child, kind)


trees = st.recursive(
    st.builds(nodes.Text, st.just("x")),
    lambda inner: st.builds(
        lambda kind, children: kind("", *children),
        st.sampled_from(KINDS),
        st.lists(inner, max_size=4),
    ),
    max_leaves=30,
)


@given(trees, st.sampled_from([*KINDS, nodes.Text, nodes.Node, (nodes.strong, nodes.Text)]))
def test_all_nodes_are_found_in_their_order(tree, kind):
    assert list(quick_trees.find(tree, kind)) == list(by_docutils(tree, kind))


CONDITIONS = [
    None,
    *KINDS,
    nodes.Text,
    nodes.literal,  # nowhere
    NodeMatcher(nodes.strong),
    NodeMatcher(nodes.strong, classes=["a"]),
    NodeMatcher(ids=[]),
    lambda node: len(node.children) == 2,
]


@given(trees, st.sampled_from(CONDITIONS), st.booleans())
def test_every_kind_of_condition_finds_what_docutils_finds(tree, condition, include_self):
    page = new_document("page")
    page.append(tree)
    for root in (page, tree):
        expected = list(quick_trees._findall(root, condition, include_self))
        assert list(quick_trees.findall(root, condition, include_self)) == expected


@pytest.fixture
def quick(monkeypatch):
    """Nodes are noted, as in a build, by a process that has seen none."""
    monkeypatch.setattr(nodes.Element, "__init__", quick_trees._make)
    monkeypatch.setattr(nodes.Node, "setup_child", quick_trees._setup_child)
    monkeypatch.setattr(quick_trees, "_made", {nodes.Text: 0})
    monkeypatch.setattr(quick_trees, "_matching", {})
    page = new_document("page")
    page.append(nodes.section("", nodes.paragraph("", "words")))
    return page


def found(page, kind):
    return [node.astext() for node in quick_trees.findall(page, kind)]


def test_what_a_page_does_not_have_is_not_searched_for(quick, monkeypatch):
    assert found(quick, nodes.subscript) == []
    monkeypatch.setattr(quick_trees, "find", None)
    assert found(quick, nodes.subscript) == []
    assert quick_trees.is_absent(quick, (nodes.subscript, nodes.literal))


def test_what_comes_into_a_page_after_it_was_searched_is_found(quick):
    assert found(quick, nodes.subscript) == []
    quick[0].append(nodes.paragraph("", "", nodes.subscript("", "x")))
    assert found(quick, nodes.subscript) == ["x"]


def test_what_comes_from_a_stored_tree_is_found(quick):
    stored = pickle.dumps(nodes.paragraph("", "", nodes.inline("", "", nodes.subscript("", "x"))))
    quick_trees._made.clear()
    assert found(quick, nodes.subscript) == []
    quick[0].append(pickle.loads(stored))
    assert found(quick, nodes.subscript) == ["x"]


def test_what_a_stored_page_has_is_found(quick):
    quick[0].append(nodes.subscript("", "x"))
    quick.reporter = quick.transformer = None
    stored = pickle.dumps(quick)
    quick_trees._made.clear()
    assert found(pickle.loads(stored), nodes.subscript) == ["x"]


def test_what_is_put_among_the_children_by_hand_is_found(quick):
    """ABlog does so."""
    assert found(quick, nodes.subscript) == []
    quick[0].children.append(nodes.subscript("", "x"))
    assert found(quick, nodes.subscript) == ["x"]


def test_what_another_page_has_does_not_bring_back_the_search(quick, monkeypatch):
    other = new_document("other")
    other.append(nodes.subscript("", "x"))
    assert found(quick, nodes.subscript) == []
    monkeypatch.setattr(quick_trees, "find", None)
    assert found(quick, nodes.subscript) == []


class Visitor(nodes.NodeVisitor):
    """Notes every step, and leaves a way to docutils where it meets the second node."""

    def __init__(self, page, error):
        super().__init__(page)
        self.error, self.steps = error, []

    def dispatch_visit(self, node):
        self.steps.append(("visit", id(node)))
        if self.error and len(self.steps) == 2:
            raise self.error

    def dispatch_departure(self, node):
        self.steps.append(("depart", id(node)))


@given(
    trees,
    st.sampled_from(
        [
            None,
            nodes.SkipNode,
            nodes.SkipChildren,
            nodes.SkipSiblings,
            nodes.SkipDeparture,
            nodes.StopTraversal,
        ]
    ),
)
def test_a_walk_takes_the_steps_that_docutils_takes(tree, error):
    page = new_document("page")
    page.append(nodes.section("", tree, nodes.paragraph("", "last")))
    walks = [Visitor(page, error), Visitor(page, error)]
    ended = [by_docutils_about(page, walks[0]), quick_trees.walkabout(page, walks[1])]
    assert walks[0].steps == walks[1].steps
    assert ended[0] == ended[1]


by_docutils_about = nodes.Node.walkabout


@pytest.mark.parametrize("walk", [quick_trees.find, by_docutils])
def test_changes_on_the_way_are_seen_as_docutils_sees_them(walk):
    tree = nodes.section("", *(nodes.paragraph("", nodes.Text(str(i))) for i in range(4)))
    found = []
    for node in walk(tree, nodes.paragraph):
        found.append(node.astext())
        if node.astext() == "1":
            node.append(nodes.paragraph("", nodes.Text("inside")))
            tree.append(nodes.paragraph("", nodes.Text("behind")))
    assert found == ["0", "1", "inside", "2", "3", "behind"]


def test_a_new_figure_numbers_those_behind_it_on_other_builds_too(tmp_path):
    site = TinySite("math", tmp_path)
    assert site.build().code == 0
    edits = [path for path in site.src.rglob("*.md") if ":label:" in path.read_text("utf-8")]
    assert edits
    text = edits[0].read_text(encoding="utf-8")
    head, _, rest = text.partition("\n\n")
    edits[0].write_text(
        f"{head}\n\n```{{math}}\n:label: a-new-one\n1 + 1\n```\n\n{rest}", encoding="utf-8"
    )
    assert site.build().code == 0
    incremental = site.files()
    assert site.build(out="fresh").code == 0
    fresh = site.files()
    assert incremental.keys() == fresh.keys()
    changed = [n for n in fresh if n.endswith(".html") and incremental[n] != fresh[n]]
    assert not changed
