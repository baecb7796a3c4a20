"""`{lab}`: a place where a reader can try an idea out, and read it where nothing can be tried.

What an author writes::

    :::{lab} How temperature bends a distribution
    :name: temperature

    Raise the temperature and the unlikely words catch up.

    ```{figure} figures/temperature.svg
    :alt: Two bar charts of the same five words, one steep and one flat.
    ```
    :::

What a reader gets is a box "Lab: How temperature bends a distribution" with the words and the still
picture, in every format. In HTML the box has the name as its id and as `data-lab`: a script that
knows a lab of this name can put the moving picture in the place of the still one. The name is also
a label, so that ``{ref}`the lab <temperature>` `` leads there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from asides import OUTSIDE_HTML
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar

    from sphinx.application import Sphinx


class Lab(nodes.Admonition, nodes.Element):
    """The box; its first child is its title."""


class LabDirective(SphinxDirective):
    """The directive: a title, a name that is required, and what can be seen without a script."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {"name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Put the body under the title."""
        name = self.options.get("name", "")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
            said = f"not {name!r}" if name else "and this one has none"
            raise self.error(f"a lab needs a name like :name: next-token, {said}")
        self.assert_has_content()
        title = f"Lab: {self.arguments[0]}"
        lab = Lab("", lab=name, label=title)
        self.set_source_info(lab)
        self.add_name(lab)
        text, messages = self.parse_inline(title)
        lab += [nodes.title(title, "", *text), *messages, *self.parse_content_to_nodes()]
        return [lab]


def visit_html(self: Any, node: Lab) -> None:
    """Open a group that is labelled with its title."""
    attributes = {"data-lab": node["lab"], "aria-label": node["label"]}
    self.body.append(self.starttag(node, "div", CLASS="admonition lab", role="group", **attributes))


def depart_html(self: Any, node: Lab) -> None:
    """Close the group."""
    self.body.append("</div>\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the node and its directive."""
    app.add_node(Lab, html=(visit_html, depart_html), **OUTSIDE_HTML)
    app.add_directive("lab", LabDirective)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
