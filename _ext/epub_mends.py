"""The EPUBs: one for each volume, one for each series of posts, one of everything.

What an author does: nothing. There is an EPUB for each document that `printed_book` makes a PDF of,
under the same name. It holds the pages that somebody wrote. What belongs to the site stays there:
the archives that ABlog collects, the page of downloads, search, styles and scripts. A link to a
page that an EPUB does not hold leads to the site; one to an archive becomes its words.

What a reader gets, beyond what Sphinx writes:

- a cover, and a page that says what this is and under which licenses;
- a table of contents with volumes, chapters and their sections, posts under their series;
- labs with the address where they can be tried;
- drawings without the document type that Matplotlib names, whose entities EPUB forbids;
- language, identifier, mathematics and what the EPUB does for readers who do not see it, announced.

And two extensions write what is not valid HTML, in the site as well: sphinx-exercise gives all its
boxes the same id, MyST-NB puts paragraphs into the line that opens a folded cell.

In `conf.py`: `epub_identifier`, a name of the book that never changes (a tag: address); the names
of its EPUBs are put behind it.
"""

from __future__ import annotations

import html
import posixpath
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import library
import link_previews
import lxml.etree
import printed_book
from docutils import nodes
from lab import Lab
from sphinx.builders.epub3 import Epub3Builder
from walkthrough import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

SHEETS = ("basic.css", "epub.css", "pygments.css", "book-epub.css", "file.png")  # and their picture
STYLE = Path(__file__).parent / "printed_style" / "book-epub.css"
COVER, IMPRINT, UNKNOWN = "cover", "imprint", "unknown"
LINK = re.compile(r'<a\b[^>]*?\bhref="(?P<address>[^"]*)"[^>]*>(?P<words>.*?)</a>', re.DOTALL)
PICTURE = re.compile(r'<(?:img|object)\b[^>]*?\b(?:src|data)="(?P<address>[^":]+)"')
DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]*(\[[^\]]*\])?[^>]*>\s*")
DC, OPF = "{http://purl.org/dc/elements/1.1/}", "{http://www.idpf.org/2007/opf}"
FOR_ALL = (
    ("schema:accessMode", "textual"),
    ("schema:accessMode", "visual"),
    ("schema:accessModeSufficient", "textual"),
    ("schema:accessibilityFeature", "alternativeText"),
    ("schema:accessibilityFeature", "MathML"),
    ("schema:accessibilityFeature", "structuralNavigation"),
    ("schema:accessibilityFeature", "tableOfContents"),
    ("schema:accessibilityFeature", "readingOrder"),
    ("schema:accessibilityHazard", "none"),
    (
        "schema:accessibilitySummary",
        "Formulae are MathML, pictures have alternative text, and headings are in order.",
    ),
)


@dataclass(frozen=True)
class Entry:
    """A line of the table of contents: its depth, where it leads, what it says."""

    level: int
    address: str
    text: str


@dataclass(frozen=True)
class Edition:
    """An EPUB: the name of its file, its title in three parts, its pages in their order."""

    stem: str
    title: printed_book.Title
    entries: tuple[Entry, ...]

    @property
    def words(self) -> str:
        """The title in one line."""
        return " — ".join(filter(None, [self.title.above, self.title.title]))


class BookEpubBuilder(Epub3Builder):
    """Sphinx's builder, which packs its pages more than once."""

    edition: Edition

    def gen_pages_from_extensions(self) -> None:
        """Write no archives."""

    def prepare_writing(self, docnames: Any) -> None:
        """Say in each page which language it is in."""
        super().prepare_writing(docnames)
        language = html.escape(self.config.epub_language)
        tag = f'{self.html_tag[:-1]} lang="{language}" xml:lang="{language}">'
        self.globalcontext["html_tag"] = tag

    # -- What goes into which file

    def editions(self) -> Iterator[Edition]:
        """All EPUBs; that of everything is the last, and the only one of a site without volumes."""
        reference = [page for page in printed_book.BACK if page in self.env.all_docs]
        volumes = library.volumes(self.env)
        series = printed_book.all_series(self.env)
        for docname, stem, title in printed_book.documents(self.env):
            if docname in volumes:
                entries = [*self.volume(docname), *self.pages(1, reference)]
                yield Edition(stem, printed_book.volume_title(self.env, docname), tuple(entries))
            elif docname in series.get(title, ()):
                entries = [*self.posts(title, series[title]), *self.pages(1, reference)]
                yield Edition(stem, printed_book.Title(self.config.project, title), tuple(entries))
        whole = printed_book.Title("", self.config.epub_title, "All volumes and posts")
        yield Edition(self.config.epub_basename, whole, tuple(self.everything()))

    def page_file(self, docname: str) -> str:
        """The file of a page."""
        return f"{docname}{self.out_suffix}"

    def pages(self, level: int, docnames: list[str]) -> Iterator[Entry]:
        """Pages without more."""
        for docname in docnames:
            yield Entry(level, self.page_file(docname), library.title(self.env, docname))

    def volume(self, volume: str) -> Iterator[Entry]:
        """A volume, its chapters, their sections."""
        yield from self.pages(1, [volume])
        for part in library.parts(self.env, volume):
            for chapter in part.chapters:
                title = f"{library.chapter_number(chapter)}. {library.title(self.env, chapter)}"
                yield Entry(2, self.page_file(chapter), title)
                yield from self.sections(3, chapter)

    def sections(self, level: int, docname: str) -> Iterator[Entry]:
        """The sections of a page, without those below them."""
        numbers = self.env.toc_secnumbers.get(docname, {})
        (top,) = self.env.tocs[docname].children[:1]
        below = [child for child in top.children if isinstance(child, nodes.bullet_list)]
        for item in below[0].children if below else ():
            link = next(iter(item.findall(nodes.reference)), None)
            if link is not None and link.get("anchorname"):
                number = ".".join(map(str, numbers.get(link["anchorname"], ())))
                text = f"{number} {link.astext()}".strip()
                anchor = self.fix_fragment("#", link["anchorname"].removeprefix("#"))
                yield Entry(level, self.page_file(docname) + anchor, text)

    def posts(self, title: str, docnames: list[str]) -> Iterator[Entry]:
        """A series of posts under its index."""
        index, *rest = docnames
        yield Entry(1, self.page_file(index), title)
        yield from self.pages(2, rest)

    def everything(self) -> Iterator[Entry]:
        """Volumes with their chapters, series with their posts, then what else there is."""
        found = [Entry(1, self.page_file(self.config.root_doc), self.config.epub_title)]
        volumes = library.volumes(self.env)
        for volume in volumes:
            found += self.volume(volume)
        series: dict[str, dict[int, str]] = {}
        views: dict[str, View] = getattr(self.env, "walkthrough_views", {})
        for docname, view in views.items():
            if view.place:
                series.setdefault(view.place.series, {})[view.place.number] = docname
        for name, posts in sorted(series.items(), key=lambda item: item[1][min(item[1])]):
            found += self.posts(f"Posts: {name}", [docname for _, docname in sorted(posts.items())])
        said = {entry.address for entry in found}
        if "downloads_page" in self.config:
            said.add(self.page_file(self.config.downloads_page))
        for node in self.refnodes:  # what Sphinx found in the toctrees
            address = html.unescape(node["refuri"])
            if address.partition("#")[0] not in said:
                level = node["level"] if not volumes else 1
                found.append(Entry(level, address, html.unescape(node["text"])))
        return iter(found)

    # -- Packing

    def handle_finish(self) -> None:
        """Pack each EPUB from a folder that holds what is in it and nothing else."""
        written = Path(self.outdir)
        self.get_toc()
        for old in written.glob("*.epub"):
            old.unlink()
        index = self.use_index
        for edition in list(self.editions()):
            self.edition = edition
            self.use_index = index and edition.stem == self.config.epub_basename
            self.playorder = self.tocid = 0
            with tempfile.TemporaryDirectory() as folder:
                self.collect(written, Path(folder))
                self.outdir = type(self.outdir)(folder)
                try:
                    self.pack()
                finally:
                    self.outdir = type(self.outdir)(written)
                packed = f"{self.config.epub_basename}.epub"  # Sphinx calls all of them so
                shutil.copyfile(Path(folder, packed), written / f"{edition.stem}.epub")

    def pack(self) -> None:
        """What Sphinx does once."""
        self.refnodes = [
            {
                "level": entry.level,
                "refuri": html.escape(entry.address),
                "text": html.escape(entry.text),
            }
            for entry in self.edition.entries
        ]
        self.build_mimetype()
        self.build_container()
        self.build_content()
        self.build_navigation_doc()
        self.build_toc()
        self.announce()
        self.build_epub()

    def collect(self, written: Path, folder: Path) -> None:
        """Copy the pages of an EPUB and what they show; draw the cover."""
        files = {entry.address.partition("#")[0] for entry in self.edition.entries}
        if self.use_index:
            files.add(self.page_file("genindex"))
        shown = {f"_static/{name}" for name in SHEETS}
        for file in sorted(files):
            text = (written / file).read_text(encoding="utf-8")
            text = LINK.sub(lambda link, file=file: self.relink(link, file, files), text)  # type: ignore[misc]
            for picture in PICTURE.finditer(text):
                address = unquote(html.unescape(picture["address"]))
                shown.add(posixpath.normpath(posixpath.join(posixpath.dirname(file), address)))
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        for name in sorted(shown):
            source, target = written / name, folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(DOCTYPE.sub(b"", source.read_bytes(), count=1))
        shutil.copyfile(STYLE, folder / "_static" / STYLE.name)
        draw_cover(self.edition, self.config.author).save(folder / f"{COVER}.png", optimize=True)
        for name, body in ((COVER, self.cover()), (IMPRINT, self.imprint())):
            (folder / self.page_file(name)).write_text(self.sheet(name, body), encoding="utf-8")

    def relink(self, link: re.Match[str], file: str, files: set[str]) -> str:
        """A link, to the site if what is meant is not in this EPUB."""
        address = link["address"]
        path, sign, fragment = unquote(html.unescape(address)).partition("#")
        if not path or ":" in path or path.startswith("/"):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        if path in files or not path.endswith(self.out_suffix):
            return link[0]
        page = path.removesuffix(self.out_suffix)
        if page not in self.env.all_docs or not self.config.html_baseurl:
            return link["words"]
        there = f"{self.config.html_baseurl.rstrip('/')}/{page}.html{sign}{fragment}"
        kept = link[0].replace(f'href="{address}"', f'href="{html.escape(there)}"', 1)
        return kept.replace("reference internal", "reference external", 1)

    def sheet(self, name: str, body: str) -> str:
        """A page that no author wrote."""
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
            f"{self.globalcontext['html_tag']}\n<head>\n<title>{html.escape(self.edition.words)}"
            f'</title>\n<link rel="stylesheet" type="text/css" href="_static/{STYLE.name}" />\n'
            f'</head>\n<body epub:type="{name}" class="{name}">\n{body}\n</body>\n</html>\n'
        )

    def cover(self) -> str:
        """The cover as a page."""
        alt = html.escape(f"Cover: {self.edition.words}")
        return f'<p><img src="{COVER}.png" alt="{alt}" /></p>'

    def imprint(self) -> str:
        """What this is, from whom, and what may be done with it."""
        title, said = self.edition.title, []
        if title.above:
            said.append(f'<p class="above">{html.escape(title.above)}</p>')
        said.append(f"<h1>{html.escape(title.title)}</h1>")
        if title.below:
            said.append(f'<p class="below">{html.escape(title.below)}</p>')
        said.append(
            f"<p>{html.escape(self.config.epub_author)}. "
            f"Edition {html.escape(self.config.release)}.</p>"
        )
        if base := self.config.html_baseurl:
            link = f'<a href="{html.escape(base)}">{html.escape(base)}</a>'
            said.append(
                "<p>This book is also a web site, on which its labs can be tried, every chapter can"
                f" be searched and corrections appear first: {link}. A link to a page that is not "
                "in this file leads there.</p>"
            )
        said.append(f"<p>{html.escape(self.config.epub_copyright)}</p>")
        return "\n".join(said)

    def identifier(self) -> str:
        """The name of an EPUB among all EPUBs."""
        whole = self.edition.stem == self.config.epub_basename
        name = self.config.epub_identifier
        return html.escape(name if whole else f"{name}/{self.edition.stem}")

    def content_metadata(self) -> dict[str, Any]:
        """Title and name are those of the file."""
        said = {"title": html.escape(self.edition.words), "id": self.identifier()}
        return {**super().content_metadata(), **said}

    def toc_metadata(self, level: int, navpoints: Any) -> dict[str, Any]:
        """The same in the older table of contents."""
        said = {"title": html.escape(self.edition.words), "uid": self.identifier()}
        return {**super().toc_metadata(level, navpoints), **said}

    def announce(self) -> None:
        """Say what the files are and what they do for readers who do not see."""
        file = Path(self.outdir, "content.opf")
        package = lxml.etree.parse(str(file))
        lxml.etree.cleanup_namespaces(package)  # what is added is then named like what is there
        metadata, spine = package.find(f"{OPF}metadata"), package.find(f"{OPF}spine")
        for name in ("description", "contributor"):  # what nobody has said
            for unsaid in metadata.findall(f"{DC}{name}"):
                if unsaid.text == UNKNOWN:
                    metadata.remove(unsaid)
        for name, said in FOR_ALL:
            lxml.etree.SubElement(metadata, f"{OPF}meta", property=name).text = said
        first = []
        for item in package.iterfind(f".//{OPF}item"):
            page = Path(self.outdir, unquote(item.get("href")))
            if page.name == f"{COVER}.png":
                item.set("properties", "cover-image")
                lxml.etree.SubElement(metadata, f"{OPF}meta", name="cover", content=item.get("id"))
            if page.suffix != self.out_suffix:
                continue
            if "properties" not in item.attrib and b"<math " in page.read_bytes():
                item.set("properties", "mathml")
            if page.parent == Path(self.outdir) and page.stem in (COVER, IMPRINT):
                first.append(item.get("id"))
        for place, identifier in enumerate(first):
            for listed in spine.findall(f"{OPF}itemref[@idref='{identifier}']"):
                del listed.attrib["linear"]
                spine.insert(place, listed)
        package.write(str(file), encoding="utf-8", xml_declaration=True)


def draw_cover(edition: Edition, author: str) -> Image.Image:
    """A cover in the colors of the link previews: the title, and how likely each next word is."""
    from PIL import Image, ImageDraw

    wide, high, edge = 1200, 1800, 110
    picture = Image.new("RGB", (wide, high), link_previews.GROUND)
    pen, room, top = ImageDraw.Draw(picture), wide - 2 * edge, 230
    pen.rectangle((0, 0, 26, high), fill=link_previews.ACCENT)

    def write(text: str, name: str, sizes: range, fill: str) -> None:
        nonlocal top
        for size in sizes:
            face = link_previews.font(name, size)
            rows = link_previews.lines(text, face, room)
            if len(rows) <= 5 and max(map(face.getlength, rows)) <= room:
                break
        for row in rows:
            pen.text((edge, top), row, fill=fill, font=face)
            top += round(size * 1.25)
        top += 40

    title, plain, bold = edition.title, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"
    if title.above:
        write(title.above, plain, range(50, 30, -2), link_previews.QUIET)
    write(title.title, bold, range(120, 40, -4), link_previews.INK)
    if title.below:
        write(title.below, plain, range(46, 30, -2), link_previews.QUIET)
    foot = high - 330
    step = room / len(link_previews.BARS)
    for number, part in enumerate(link_previews.BARS):
        fill = link_previews.ACCENT if part == max(link_previews.BARS) else "#3d4f74"
        left = edge + number * step
        pen.rectangle((left, foot - 380 * part, left + step * 0.68, foot), fill=fill)
    face = link_previews.font(plain, 40)
    pen.text((edge, high - 170), author, fill=link_previews.QUIET, font=face)
    return picture.quantize(24)


# -- Pages -----------------------------------------------------------------------------------------


def _mend_tree(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []
    if app.builder.name == "epub" and (base := app.config.html_baseurl):
        for lab in doctree.findall(Lab):
            address = f"{base.rstrip('/')}/{docname}.html#{lab['lab']}"
            link = nodes.reference("", address, refuri=address)
            lab += nodes.paragraph("", "Try it on the page: ", link, classes=["live"])


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


def _add_style(app: Sphinx) -> None:
    if app.builder.name == "epub":
        app.add_css_file(STYLE.name)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put the builder in the place of Sphinx's."""
    app.setup_extension("sphinx.builders.epub3")
    app.add_builder(BookEpubBuilder, override=True)
    app.connect("builder-inited", _add_style)
    app.connect("doctree-resolved", _mend_tree)
    app.connect("html-page-context", _mend_page, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
