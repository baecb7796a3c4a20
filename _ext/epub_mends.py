"""The EPUB says what it holds, and holds nothing that readers of EPUB refuse.

Sphinx's builder leaves three things undone:

- files with mathematics must be announced as such, or readers may leave it unread;
- Matplotlib's drawings name a document type with entities from outside, which EPUB forbids;
- style sheets, scripts and fonts of the web site are packed though no device understands them; the
  EPUB has Sphinx's own sheet for EPUB.

And two extensions write what is not valid HTML, in the site as well: sphinx-exercise gives all its
boxes the same id, MyST-NB puts paragraphs into the line that opens a folded cell.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import lxml.etree
from docutils import nodes
from sphinx.builders.epub3 import Epub3Builder

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

SHEETS = ("basic.css", "epub.css", "pygments.css", "file.png")  # the sheets show the picture


class BookEpubBuilder(Epub3Builder):
    """Sphinx's builder with two steps more."""

    def build_content(self) -> None:
        """Take out what does not belong, then list the files as Sphinx does."""
        for path in Path(self.outdir, "_static").iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in SHEETS:
                path.unlink()
        for drawing in Path(self.outdir).rglob("*.svg"):
            source = drawing.read_bytes()
            plain = re.sub(rb"<!DOCTYPE[^>\[]*(\[[^\]]*\])?[^>]*>\s*", b"", source, count=1)
            if plain != source:
                drawing.write_bytes(plain)
        super().build_content()

    def build_epub(self) -> None:
        """Announce the mathematics, then pack as Sphinx does."""
        package = Path(self.outdir, "content.opf")
        listed = lxml.etree.parse(str(package))
        for item in listed.iterfind(".//{*}item[@media-type='application/xhtml+xml']"):
            page = Path(self.outdir, unquote(item.get("href")))
            if "properties" not in item.attrib and b"<math " in page.read_bytes():
                item.set("properties", "mathml")
        listed.write(str(package), encoding="utf-8", xml_declaration=True)
        super().build_epub()


def _unique_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []


def _mend_page(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    if "body" in context:
        context["body"] = re.sub(
            r'<p class="(collapsed|expanded) admonition-title">(.*?)</p>',
            r'<span class="\1 admonition-title">\2</span>',
            context["body"],
        )
    if app.builder.name == "epub":
        context["css_files"] = [
            sheet
            for sheet in context["css_files"]
            if Path(str(sheet.filename).partition("?")[0]).name in SHEETS
        ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put the builder in the place of Sphinx's."""
    app.setup_extension("sphinx.builders.epub3")
    app.add_builder(BookEpubBuilder, override=True)
    app.connect("doctree-resolved", _unique_ids)
    app.connect("html-page-context", _mend_page, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
