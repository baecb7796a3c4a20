"""Exercises and solutions with ids of their own only.

sphinx-exercise gives the body of every exercise the id "exercise-content" and that of every
solution "solution-content". With two exercises on a page an id stands there twice, which is not
valid HTML and can lead a screen reader astray. Nothing links to these ids: they are taken away.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SHARED = {"exercise-content", "solution-content"}


class DropSharedIds(SphinxPostTransform):
    """Take the ids away that several elements of a page share."""

    default_priority = 900  # after sphinx-exercise has put gated exercises together

    def run(self, **kwargs: Any) -> None:
        """Look at every section of the page."""
        for section in self.document.findall(nodes.section):
            section["ids"] = [name for name in section["ids"] if name not in SHARED]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_post_transform(DropSharedIds)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
