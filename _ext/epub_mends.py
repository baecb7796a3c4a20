"""The EPUB says what it holds, and holds nothing that readers of EPUB refuse.

Sphinx's builder leaves three things undone:

- files with mathematics must be announced as such, or readers may leave it unread;
- Matplotlib's drawings name a document type with entities from outside, which EPUB forbids;
- style sheets, scripts and fonts of the web site are packed though no device understands them; the
  EPUB has Sphinx's own sheet for EPUB.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import lxml.etree
from sphinx.builders.epub3 import Epub3Builder

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

WEB_ONLY = ("book.css", "book.js", "search.js", "fonts")


class BookEpubBuilder(Epub3Builder):
    """Sphinx's builder with two steps more."""

    def build_content(self) -> None:
        """Take out what does not belong, then list the files as Sphinx does."""
        for name in WEB_ONLY:
            path = Path(self.outdir, "_static", name)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
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


def _own_sheet(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    if app.builder.name == "epub":
        context["css_files"] = [
            sheet
            for sheet in context["css_files"]
            if Path(str(sheet.filename).partition("?")[0]).name not in WEB_ONLY
        ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put the builder in the place of Sphinx's."""
    app.setup_extension("sphinx.builders.epub3")
    app.add_builder(BookEpubBuilder, override=True)
    app.connect("html-page-context", _own_sheet, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
