"""Trees are walked as docutils walks them, and numbers are those that Sphinx counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from docutils import nodes
from hypothesis import given
from hypothesis import strategies as st
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
