"""Builds do once what came out the same for every page.

Nothing changes for authors and readers. Docutils collects the defaults of its settings with a
parser for command lines, which is made anew twice for each page; here they are collected once and
copied. The theme renders most of its templates twice, the first time to see whether they are empty;
those of which we know that they are not are rendered once. Jinja keeps what it has compiled beside
the doctrees, and does not look before each use whether a template's file has changed while the
build runs. A page's title is rendered once, and not once more for each neighbor and child that
shows it. A page's list of its sections, which the theme takes apart and puts together again to give
it classes, is given them where it stands. Docutils looks for straight quotes only where there are
any, which MyST leaves in few places. What Sphinx says only to those who asked for its messages for
debugging is put into words only for them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docutils.frontend
import myst_parser.mdit_to_docutils.base
import sphinx.util.docutils
from docutils import nodes
from docutils.utils import DependencyList
from jinja2 import FileSystemBytecodeCache
from pydata_sphinx_theme import toctree
from pydata_sphinx_theme import utils as theme
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.transforms import SphinxSmartQuotes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils.frontend import Values
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

# Templates of this site that say something on every page.
NEVER_EMPTY = [
    "article-header-buttons.html",
    "navbar-logo.html",
    "search-button-field.html",
    "toggle-primary-sidebar.html",
    "volume-sidebar.html",
]

# By the components whose settings they are: the defaults that were asked for, and what came out.
_settings: dict[tuple[Any, ...], tuple[dict[str, Any], Values]] = {}


def _fresh(made: Values) -> Values:
    """A copy whose list of the files that a page depends on is its own."""
    copy = made.copy()
    copy.record_dependencies = DependencyList()
    return copy


def settings(*components: Any, defaults: dict[str, Any], read_config_files: bool = False) -> Values:
    """What Sphinx' function of this kind gives: settings that their page may change."""
    kinds = tuple(part if isinstance(part, type) else type(part) for part in components)
    key = (read_config_files, *kinds)
    if key not in _settings or _settings[key][0] != defaults:
        made = _make_settings(*components, defaults=defaults, read_config_files=read_config_files)
        _settings[key] = defaults, made
    return _fresh(_settings[key][1])


def default_settings(*components: Any) -> Values:
    """What docutils' function of this name gives."""
    key = ("", *components)
    if key not in _settings:
        _settings[key] = {}, _make_default_settings(*components)
    return _fresh(_settings[key][1])


def filled_templates(
    app: Sphinx,
    context: dict[str, Any],
    templates: Any,
    section: str,
    templates_skip_empty_check: list[str] | None = None,
) -> list[str]:
    """What the theme's function gives: the names of the templates that are not empty."""
    known = [*(templates_skip_empty_check or []), *NEVER_EMPTY]
    names: list[str] = _filled_templates(app, context, templates, section, known)
    return names


def render_partial(self: StandaloneHTMLBuilder, node: nodes.Node | None) -> dict[str, str]:
    """What the builder's method of this name gives."""
    if not isinstance(node, nodes.title):
        return _render(self, node)
    kept: dict[int, tuple[nodes.Node, dict[str, str]]]
    kept = self.__dict__.setdefault("rendered_titles", {})
    if id(node) not in kept:  # the node is kept too, so that no other is given its number
        kept[id(node)] = node, _render(self, node)
    return kept[id(node)][1].copy()


def page_toc(toc: str, shown: int) -> str | None:
    """What the theme's `generate_toc_html` makes of a page's list of its sections.

    Args:
        toc: the list as Sphinx writes it, the page's title at the top.
        shown: down to which level below the title it is open.

    Returns:
        None if something stands in it of which we do not know what the theme would make.
    """
    if not toc or _UNUSUAL.search(toc):
        return None
    depth, counts = 0, Counter[tuple[str, int]]()

    def dress(tag: re.Match[str]) -> str:
        nonlocal depth
        if tag[0] == "</ul>":
            depth -= 1
            return tag[0]
        depth += tag[0] == "<ul>"
        counts[tag[0], depth] += 1
        if tag[0] == "<ul>":
            is_open = "pst-show_toc_level " if depth <= shown + 1 else ""
            return f'<ul class="{is_open}nav section-nav flex-column">'
        if tag[0] == "<li>":
            return f'<li class="toc-h{depth} nav-item toc-entry">'
        return f'{tag[0][:-1]} nav-link"'

    dressed = _DRESSED.sub(dress, toc)
    if counts["<li>", 1] != 1 or counts["<ul>", 2] > 1:
        return None
    if not counts["<ul>", 2]:  # only a title
        return ""
    last = dressed.rindex("</ul>", 0, dressed.rindex("</ul>"))
    return dressed[dressed.index("<ul", 1) : last + len("</ul>")]


_LINK = '<a class="reference internal"'
_DRESSED = re.compile(f"</?ul>|<li>|{_LINK}")
_UNUSUAL = re.compile(
    rf"<(?!/?(?:ul|li|code|em|span|strong|a)>|(?:code|span)\ class=\"[\w -]*\">)"
    rf"(?!{_LINK[1:]}\ href=\"[^\"&<>]*\">)|&(?!amp;|lt;|gt;)"
)


def add_toctree_functions(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """What the theme's function of this name does: gives templates what makes lists of pages."""
    _add_toctree_functions(app, pagename, templatename, context, doctree)
    theirs: Any = context["generate_toc_html"]
    ours = page_toc(context.get("toc", ""), int(context.get("theme_show_toc_level", 1)))
    if ours is not None:
        context["generate_toc_html"] = lambda kind="html": ours if kind == "html" else theirs(kind)


# What docutils' smart quotes change: quotes, dashes, ellipses, and its signs for escapes.
_STRAIGHT = re.compile(r"""["'`\\\x00]|--|\.\.\.|\. \. \.|&#""")


class Straight:
    """A page in which only the blocks of text are found that smart quotes would change."""

    def __init__(self, page: nodes.document) -> None:
        self.page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def findall(self, kind: type[nodes.TextElement]) -> Iterator[nodes.TextElement]:
        """The blocks in their order."""
        return (node for node in self.page.findall(kind) if _STRAIGHT.search(node.astext()))


def educate_quotes(self: SphinxSmartQuotes, **options: Any) -> None:
    """What the transform does."""
    page: Any = self.document
    self.document = Straight(page)
    try:
        _educate_quotes(self, **options)
    finally:
        self.document = page


def _keep_templates(app: Sphinx) -> None:
    templates = getattr(app.builder, "templates", None)
    if templates is not None:
        compiled = Path(app.doctreedir, "templates")
        compiled.mkdir(parents=True, exist_ok=True)
        templates.environment.bytecode_cache = FileSystemBytecodeCache(str(compiled))
        templates.environment.auto_reload = False


_add_toctree_functions: Any = toctree.add_toctree_functions
_educate_quotes = SphinxSmartQuotes.apply
_render = StandaloneHTMLBuilder.render_partial
_make_settings: Any = sphinx.util.docutils._get_settings
_make_default_settings = docutils.frontend.get_default_settings
_filled_templates: Any = theme._update_and_remove_templates


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put all of them into their places, before the theme does so with its own."""
    toctree.add_toctree_functions = add_toctree_functions
    SphinxSmartQuotes.apply = educate_quotes  # type: ignore[method-assign]
    StandaloneHTMLBuilder.render_partial = render_partial  # type: ignore[method-assign]
    sphinx.util.docutils._get_settings = settings  # type: ignore[assignment]
    docutils.frontend.get_default_settings = default_settings
    myst_parser.mdit_to_docutils.base.get_default_settings = default_settings
    theme._update_and_remove_templates = filled_templates
    app.connect("builder-inited", _keep_templates)
    if app.verbosity < 1:
        logging.getLogger("sphinx").setLevel(logging.INFO)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
