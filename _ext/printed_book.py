r"""The printed book: one LaTeX document for each volume, one for each series of posts, one of all.

What an author does: nothing. The documents follow from the file names and the front matter:

- ``llm-primer-<number>`` for each ``volumes/<number>-<slug>/index``: its text as the first chapter,
  its chapters with the numbers of their files, in the parts that its toctrees make;
- one for each series of posts with an index (``guide-2024``), in its order;
- one with the name of the project: all of these, each a part, and the posts that walk through.

What a reader gets, beyond what Sphinx writes:

- the numbers of the site, for chapters, figures, tables and equations;
- solutions at the end of their volume, with links there and back;
- of the bibliography the works that are cited;
- a link to the site where a page that is meant is not in the document, with the page's title;
- labs with the address where they can be tried.

A build without volumes writes what `latex_documents` says. `bookstyle.sty` says how it all looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import library
import post_front_matter
import post_info
import walkthrough
from babel.dates import format_date
from docutils import nodes
from lab import Lab
from sphinx import addnodes
from sphinx.builders.latex import LaTeXBuilder
from sphinx.builders.latex.nodes import math_reference, thebibliography
from sphinx.errors import NoUri
from sphinx.util import texescape
from sphinx.util.docutils import new_document
from sphinx.writers.latex import LaTeXTranslator
from sphinx_exercise.nodes import is_exercise_node, solution_node
from sphinxcontrib.bibtex.nodes import raw_latex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

STYLE = Path(__file__).parent / "printed_style" / "bookstyle.sty"
BIBLIOGRAPHY = "reference/bibliography"
BACK = ("reference/notation", "reference/glossary", BIBLIOGRAPHY)
FOLDED = ("all", "input", "input+output")  # modes of MyST-NB
BEYOND_LATIN = re.compile(r"[^\x00-\u024f]")
SETUP = ",".join(
    [
        "iconpackage=none",
        "verbatimwithframe=false,VerbatimColor={HTML}{F5F6F8}",
        "verbatimmaxunderfull=4,verbatimforcewraps=true",
        "pre_padding=5pt,pre_border-radius=2pt",
        "InnerLinkColor={HTML}{1F4E8C},OuterLinkColor={HTML}{7A3E00}",
        *(
            f"div.{kind}_title-background-TeXcolor={{HTML}}{{{title}}},"
            f"div.{kind}_title-foreground-TeXcolor={{HTML}}{{{ink}}},"
            f"div.{kind}_background-TeXcolor={{HTML}}{{{ground}}},"
            f"div.{kind}_border-TeXcolor={{HTML}}{{{title}}},"
            f"div.{kind}_border-width=0.6pt,div.{kind}_border-radius=2pt"
            for kind, title, ground, ink in (
                ("note", "E3E6EA", "FAFAFB", "2B333D"),
                ("hint", "DCE9F7", "F7FAFE", "1F3A5F"),
                ("tip", "DDEFDF", "F8FCF8", "1E4D2B"),
                ("important", "F3E7D3", "FFFFFF", "5A3A0A"),
            )
        ),
    ]
)
ELEMENTS = {
    "papersize": "a4paper",
    "pointsize": "10pt",
    "extraclassoptions": "openany",
    "geometry": r"\usepackage[a4paper,textwidth=15.4cm,textheight=23.6cm,centering]{geometry}",
    "amsmath": r"\usepackage{amsmath,amssymb,amstext}",
    "fontpkg": "",
    "fncychap": "",
    # Where the text has them: with floats and boxes on a page TeX loses count of its height.
    "figure_align": "H",
    "releasename": " ",
    "fvset": r"\fvset{fontsize=\small}",
    "printindex": r"\bookunnumbered\printindex",
}


@dataclass(frozen=True)
class Title:
    """What stands on the first page of a document, or of a part."""

    above: str
    title: str
    below: str = ""


class Apart(nodes.General, nodes.Element):
    """Something that was moved away from its page; its labels still begin with the page's name."""


class Exercise(nodes.Admonition, nodes.Element):
    """An exercise, with the label of its solution."""


class Solved(nodes.General, nodes.Element):
    """A solution; its first child is its title."""


class Works(nodes.General, nodes.Element):
    """A list of cited works."""


class Work(nodes.General, nodes.Element):
    """One of them."""


def _raw(tex: str) -> nodes.raw:
    return nodes.raw("", f"\n{tex}\n", format="latex")


def _escape(text: str) -> str:
    return texescape.escape(text, "xelatex")


def _part(title: Title) -> nodes.raw:
    said = (title.above, title.title, title.below)
    return _raw(r"\bookpart" + "".join(f"{{{_escape(text)}}}" for text in said))


def file_name(text: str) -> str:
    """A name for a file: "Introduction to LLM" becomes "introduction-to-llm"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def volume_file(docname: str) -> str:
    """The name, without its ending, of the PDF of a volume."""
    return f"llm-primer-{int(docname.split('/')[1].split('-')[0])}"


def all_series(env: BuildEnvironment) -> dict[str, list[str]]:
    """The series of posts that are not of a volume: titles and posts, the index first."""
    volumes = {library.title(env, volume) for volume in library.volumes(env)}
    found: dict[str, dict[int, str]] = {}
    views: dict[str, walkthrough.View] = getattr(env, "walkthrough_views", {})
    for docname, view in views.items():
        if view.place and view.place.series not in volumes:
            found.setdefault(view.place.series, {})[view.place.number] = docname
    return {title: [posts[n] for n in sorted(posts)] for title, posts in sorted(found.items())}


def documents(env: BuildEnvironment) -> list[tuple[str, str, str]]:
    """The documents: their first pages, the names of their files without ending, their titles."""
    found = [(name, volume_file(name), library.title(env, name)) for name in library.volumes(env)]
    found += [(posts[0], file_name(title), title) for title, posts in all_series(env).items()]
    whole = (env.config.root_doc, file_name(env.config.project), env.config.project)
    return [*found, whole] if library.volumes(env) else []


def volume_title(env: BuildEnvironment, volume: str) -> Title:
    """Volume I — How Generative AI Works: what is above, the title, the subtitle."""
    above, dash, title = library.title(env, volume).partition(" — ")
    below = subtitle(env.get_doctree(volume))
    return Title(above, title, below.astext() if below else "") if dash else Title("", above)


def subtitle(page: nodes.document) -> nodes.paragraph | None:
    """The paragraph in italics below the title of a volume's page."""
    for paragraph in page.findall(nodes.paragraph):
        alone = len(paragraph.children) == 1
        return paragraph if alone and isinstance(paragraph[0], nodes.emphasis) else None
    return None


class BookLaTeXTranslator(LaTeXTranslator):
    """Sphinx's translator with an index in which a term has one entry."""

    def visit_index(self, node: nodes.Element) -> None:
        """Write terms without macros, which TeX spells in two ways, so that a term is one entry."""
        start = len(self.body)
        try:
            super().visit_index(node)
        finally:
            said = "".join(self.body[start:]).replace(r"\sphinxhyphen{}", "-")
            said = re.sub(r"([^{}!@|]+)@\\spxentry\{\1\}", r"\1", said)
            self.body[start:] = [said]


class BookLaTeXBuilder(LaTeXBuilder):
    """Sphinx's builder with documents of its own making."""

    default_translator_class = BookLaTeXTranslator

    def init_document_data(self) -> None:
        """List the documents: volumes, series of posts, everything."""
        self.front: Title | None = None
        # Sphinx sets check marks as formulae, which break where code is wrapped; a font has them.
        for table in (
            texescape._tex_escape_map_without_unicode,
            texescape._tex_hlescape_map_without_unicode,
        ):
            for sign in "✓✔":
                table.pop(ord(sign), None)
        self.planned = {docname: name for docname, name, _ in documents(self.env)}
        if not self.planned:
            super().init_document_data()
            return
        self.titles = []
        for docname, name in self.planned.items():
            entry = (docname, f"{name}.tex", "", self.config.author, "manual", False)
            self.document_data.append(entry)

    def get_relative_uri(self, from_: str, to: str, typ: str | None = None) -> str:
        """The place in this document, or the address on the site."""
        if to in self.docnames:
            return self.get_target_uri(to, typ)
        if not self.config.html_baseurl:
            raise NoUri(to, typ)
        return self.web(to)

    def web(self, docname: str) -> str:
        """The address of a page on the site."""
        return f"{self.config.html_baseurl.rstrip('/')}/{docname}.html"

    # -- From pages to a document

    def get_contentsname(self, indexfile: str) -> str:
        """Never the caption of a toctree: a table of contents is of the whole document."""
        return "" if self.planned else super().get_contentsname(indexfile)

    def assemble_doctree(
        self, indexfile: str, toctree_only: bool, appendices: list[str]
    ) -> nodes.document:
        """Put the pages together, resolve the references, sort what goes to the end."""
        if indexfile not in self.planned:
            return super().assemble_doctree(indexfile, toctree_only, appendices)
        self.front, content = self.plan(indexfile)
        tree = new_document(indexfile)
        tree["docname"] = "book"
        tree += nodes.section("", nodes.title("", self.front.title), *content)
        self.docnames = {page["docname"] for page in tree.findall(addnodes.start_of_file)}
        self.env.resolve_references(tree, self.config.root_doc, self)
        self.introduce_posts(tree)
        self.link_outside(tree)
        self.number(tree)
        self.collect_solutions(tree)
        self.keep_cited_works(tree)
        self.show_addresses(tree)
        self.set_folded_code_small(tree)
        return tree

    def plan(self, docname: str) -> tuple[Title, list[nodes.Node]]:
        """The title page and the pages of the document that begins with a page."""
        volumes, series = library.volumes(self.env), all_series(self.env)
        if docname in volumes:
            return volume_title(self.env, docname), [*self.volume(docname), *self.back()]
        for title, posts in series.items():
            if posts[0] == docname:
                return Title(self.config.project, title), [*self.pages(posts), *self.back()]
        content = list(self.everything(volumes, series))
        if back := list(self.back()):
            content += [_part(Title("", "Reference")), *back]
        return Title("", self.config.project, "All volumes and posts"), content

    def back(self) -> Iterator[nodes.Node]:
        """What stands at the end of each document."""
        return self.pages(page for page in BACK if page in self.env.all_docs)

    def everything(self, volumes: list[str], series: dict[str, list[str]]) -> Iterator[nodes.Node]:
        """All volumes, the series of posts, the posts that walk through a volume."""
        for volume in volumes:
            title = volume_title(self.env, volume)
            yield _part(title)
            yield from self.volume(volume)
        for name, posts in series.items():
            yield _part(Title("", name))
            yield from self.pages(posts)
        views: dict[str, walkthrough.View] = getattr(self.env, "walkthrough_views", {})
        walks = {view.chapter.link.docname: name for name, view in views.items() if view.chapter}
        if walks:
            yield _part(Title("", "The Walkthrough", "A post for each chapter"))
            yield from self.pages(post for _, post in sorted(walks.items()))

    def volume(self, volume: str) -> Iterator[nodes.Node]:
        """What a volume's page says, its chapters in their parts, the place of its solutions."""
        page = self.env.get_doctree(volume)
        if below := subtitle(page):
            below.parent.remove(below)
        for node in [*page.findall(walkthrough.ListPlaceholder), *page.findall(nodes.compound)]:
            if isinstance(node, walkthrough.ListPlaceholder) or [*node.findall(addnodes.toctree)]:
                node.parent.remove(node)
        for section in [*page.findall(nodes.section)]:
            heading_only = len(section.children) == len([*section.findall(nodes.title)]) == 1
            if heading_only and isinstance(section.parent, nodes.section):
                section.parent.remove(section)
        title = next(iter(page.findall(nodes.title)))
        title.replace_self(nodes.title("", "About this volume"))
        yield from self.pages([volume], page)
        for part in library.parts(self.env, volume):
            if part.caption:
                yield _part(Title("", part.caption))
            yield from self.pages(part.chapters)
        yield nodes.comment("", volume, solutions=volume)

    def pages(
        self, docnames: Iterable[str], read: nodes.document | None = None
    ) -> Iterator[nodes.Node]:
        """Pages as chapters, numbered if they are so on the site."""
        for docname in docnames:
            chapter = library.chapter_number(docname)
            numbered = chapter is not None and docname in self.env.toc_secnumbers
            yield _raw(rf"\booknumbered{{{chapter}}}" if numbered else r"\bookunnumbered")
            page = addnodes.start_of_file(docname=docname)
            page.children = (read or self.env.get_doctree(docname)).children
            for child in page.children:
                child.parent = page
            for toctree in [*page.findall(addnodes.toctree)]:
                toctree.parent.remove(toctree)
            for section in page.findall(nodes.section):
                section["docname"] = docname
            yield page

    # -- What is done to a document

    def introduce_posts(self, tree: nodes.document) -> None:
        """Below a post's title stand its date and a box with the chapters that it belongs to."""
        published = post_front_matter.posts(self.env)
        for page in tree.findall(addnodes.start_of_file):
            post = published.get(page["docname"])
            for place in [*page.findall(post_info.post_info)]:
                days = [post.date, post.updated] if post else []
                said = [
                    format_date(day, "long", locale=self.config.language or "en")
                    for day in days
                    if day
                ]
                text = ", updated ".join(said)
                place.replace_self(nodes.paragraph("", "", nodes.emphasis("", text)))
            for box in [*page.findall(walkthrough.Box)]:
                if "series-place" in box["classes"]:  # the document is the series
                    box.parent.remove(box)
                elif "book-card" in box["classes"]:
                    items = [
                        nodes.paragraph(
                            "", "", *chapter[1].children, nodes.Text(f" ({chapter[0].astext()})")
                        )
                        for chapter in box.findall(walkthrough.Box)
                        if "book-card-chapter" in chapter["classes"]
                    ]
                    title = nodes.title("", box["label"])
                    box.replace_self(nodes.admonition("", title, *items))

    def link_outside(self, tree: nodes.document) -> None:
        """What is numbered on pages that are not in the document is on the site."""
        numbers = self.env.toc_fignumbers
        for node in [*tree.findall(math_reference)]:
            if node["docname"] not in self.docnames:
                identifier = nodes.make_id(f"equation-{node['target']}")
                shown = numbers.get(node["docname"], {}).get("displaymath", {}).get(identifier, ())
                text = self.config.math_eqref_format.format(number=".".join(map(str, shown)))
                text += self.of_volume(node["docname"])
                address = f"{self.web(node['docname'])}#{identifier}"
                node.replace_self(nodes.reference("", text, refuri=address))
        for node in [*tree.findall(addnodes.number_reference)]:
            address = node.get("refuri", "")
            if "://" in address:
                page = address.removeprefix(self.web("").removesuffix(".html")).split(".html#")[0]
                text = node.astext() + self.of_volume(page)
                node.replace_self(nodes.reference("", text, refuri=address))

    def of_volume(self, docname: str) -> str:
        """What is said behind a number of another volume, in which numbers begin anew."""
        volume = library.volume_of(docname)
        above = volume_title(self.env, volume).above if volume else ""
        return f" of {above}" if above else ""

    def number(self, tree: nodes.document) -> None:
        """Set the counters, so that figures, tables and equations have the numbers of the site."""
        kinds: list[tuple[type[nodes.Element], str, str]] = [
            (nodes.figure, "figure", "figure"),
            (nodes.table, "table", "table"),
            (nodes.math_block, "displaymath", "equation"),
        ]
        for page in tree.findall(addnodes.start_of_file):
            known = self.env.toc_fignumbers.get(page["docname"], {})
            for kind, name, counter in kinds:
                for node in [*page.findall(kind)]:
                    ids = [i for i in node["ids"] if i in known.get(name, {})]
                    if ids:
                        before = rf"\setcounter{{{counter}}}{{{known[name][ids[0]][-1] - 1}}}%"
                    elif kind is nodes.figure and any(node.findall(nodes.caption)):
                        before = r"\bookplaincaption"
                    else:
                        continue
                    node.parent.insert(node.parent.index(node), _raw(before))

    def collect_solutions(self, tree: nodes.document) -> None:
        """Take the solutions to the end of their volume and link the exercises with them."""
        solved: dict[str, str] = {}
        chapters: dict[str, list[Solved]] = {}
        for page in tree.findall(addnodes.start_of_file):
            docname = page["docname"]
            for node in [*page.findall(solution_node)]:
                target = node["target_label"]
                title = node.children[0]
                link = next(iter(title.findall(nodes.reference)), None)
                said = [child.deepcopy() for child in (link or title).children]
                if isinstance(said[0], nodes.Text):
                    said[0] = nodes.Text(said[0].lstrip())
                heading = nodes.title("", "", *said)
                entry = Solved("", heading, *node.children[1:])
                entry["ids"] = [*node["ids"], f"{target}-solved"]
                entry["exercise"] = f"{docname}:{target}"
                solved[target] = f"{docname}:{target}-solved"
                node.parent.remove(node)
                chapters.setdefault(docname, []).append(entry)
        for node in [*tree.findall(is_exercise_node)]:
            label = node["label"]
            box = Exercise("", *node.children, ids=[*dict.fromkeys([label, *node["ids"]])])
            box["solution"] = solved.get(label, "")
            node.replace_self(box)
        for place in [*tree.findall(nodes.comment)]:
            volume = place.get("solutions")
            if volume:
                place.replace_self(self.solutions(volume, chapters))
        # Posts and other pages have no volume: their solutions stay at their end.
        for page in tree.findall(addnodes.start_of_file):
            if rest := chapters.get(page["docname"]):
                page += Apart("", *rest, docname=page["docname"])

    def solutions(self, volume: str, chapters: dict[str, list[Solved]]) -> list[nodes.Node]:
        """The chapter of solutions of a volume; takes them out of `chapters`."""
        sections = []
        for part in library.parts(self.env, volume):
            for docname in part.chapters:
                if entries := chapters.pop(docname, []):
                    number = library.chapter_number(docname)
                    title = f"Chapter {number}: {library.title(self.env, docname)}"
                    counter = _raw(rf"\booksolutionsof{{{number}}}")
                    body = Apart("", *entries, docname=docname)
                    section = nodes.section("", nodes.title("", title), counter, body)
                    sections.append(section)
        if not sections:
            return []
        top = nodes.section(
            "", nodes.title("", "Solutions"), *sections, ids=[f"{volume}-solutions"]
        )
        return [_raw(r"\bookunnumbered"), top]

    def keep_cited_works(self, tree: nodes.document) -> None:
        """Put the cited works where the bibliography is; the others are left out."""
        told = [node.rawsource for node in tree.findall(raw_latex)]  # as sphinxcontrib.bibtex does
        told += [node.get("refuri", "") for node in tree.findall(nodes.reference)]
        cited = set(re.findall(rf"{BIBLIOGRAPHY}[:#]([\w-]+)", "\n".join(told)))
        for gathered in [*tree.findall(thebibliography)]:
            gathered.parent.remove(gathered)
            works = Works()
            for citation in gathered.findall(nodes.citation):
                if cited.intersection(citation["ids"]):
                    # sphinxcontrib.bibtex adds mark and text to one node again for each document.
                    works += Work("", citation.children[-1].deepcopy(), ids=citation["ids"])
            pages = tree.findall(addnodes.start_of_file)
            page = next((page for page in pages if page["docname"] == BIBLIOGRAPHY), None)
            if page is not None and len(works):
                next(iter(page.findall(nodes.section))).append(works)

    def show_addresses(self, tree: nodes.document) -> None:
        """Say below each lab where it can be tried."""
        if not self.config.html_baseurl:
            return
        for page in tree.findall(addnodes.start_of_file):
            for lab in page.findall(Lab):
                address = f"{self.web(page['docname'])}#{lab['lab']}".replace("%", r"\%")
                lab += _raw(rf"\booklive{{{address.replace('#', chr(92) + '#')}}}")

    def set_folded_code_small(self, tree: nodes.document) -> None:
        """Code that the site folds away, most of it drawing a figure, takes less room."""
        for cell in [*tree.findall(nodes.container)]:
            if cell.get("nb_element") == "cell_code" and cell.get("hide_mode") in FOLDED:
                code = cell.children[0]
                if isinstance(code, nodes.container) and "cell_input" in code["classes"]:
                    code.insert(0, _raw(r"\begin{bookfolded}"))
                    code.append(_raw(r"\end{bookfolded}"))

    # -- What stands around it

    def update_doc_context(self, title: str, author: str, theme: Any) -> None:
        """The first page, and what PDF readers show of a document."""
        if self.front is None:
            super().update_doc_context(title, author, theme)
            return
        front = self.front
        super().update_doc_context(_escape(front.title), _escape(author), theme)
        said = [front.above, front.title, front.below, author, self.config.release]
        fields = "".join(f"{{{_escape(text)}}}" for text in said)
        self.context["maketitle"] = (
            rf"\bookfront{fields}{{{self.config.html_baseurl.replace('%', chr(92) + '%')}}}"
        )
        whole = f"{front.above} — {front.title}" if front.above else front.title
        self.context["preamble"] = (
            f"{self.config.latex_elements.get('preamble', '')}\n"
            r"\usepackage{bookstyle}" + "\n"
            rf"\renewcommand{{\booktitle}}{{{_escape(whole)}}}" + "\n"
            rf"\hypersetup{{pdftitle={{{_escape(whole)}}},pdfauthor={{{_escape(author)}}},"
            rf"pdfsubject={{{_escape(front.below)}}},pdflang={{{self.config.language}}},"
            r"pdfdisplaydoctitle=true}"
        )

    def copy_support_files(self) -> None:
        """Sphinx's files and our style."""
        super().copy_support_files()
        Path(self.outdir, STYLE.name).write_bytes(STYLE.read_bytes())

    def finish(self) -> None:
        """Tell each document which characters it has; remove documents that are no more."""
        if self.planned:
            written = {f"{name}.tex" for name in self.planned.values()}
            for path in Path(self.outdir).glob("*.tex"):
                if path.name not in written:
                    path.unlink()
        for entry in self.document_data if self.planned else ():
            path = Path(self.outdir, entry[1])
            tex = path.read_text(encoding="utf-8")
            used = sorted(set(BEYOND_LATIN.findall(tex)))
            told = ",".join(f'"{ord(character):04X}' for character in used)
            call = f"\\bookcharacters{{{told}}}\n\\begin{{document}}"
            path.write_text(tex.replace("\\begin{document}", call, 1), encoding="utf-8")
        super().finish()


# -- From nodes to TeX -----------------------------------------------------------------------------


def _visit_apart(self: Any, node: Apart) -> None:
    self.curfilestack.append(node["docname"])


def _depart_apart(self: Any, node: Apart) -> None:
    self.curfilestack.pop()


def _visit_exercise(self: Any, node: Exercise) -> None:
    self.body.append("\n" + "".join(self.hypertarget(name) for name in node["ids"]))
    self.body.append(rf"\label{{exercise:{node['ids'][0]}}}")  # what sphinx-exercise refers to
    self.body.append("\n\\begin{sphinxadmonition}{important}")
    self.no_latex_floats += 1


def _depart_exercise(self: Any, node: Exercise) -> None:
    if node["solution"]:
        self.body.append(rf"\booksolution{{{self.idescape(node['solution'])}}}")
    self.body.append("\\end{sphinxadmonition}\n")
    self.no_latex_floats -= 1


def _visit_solved(self: Any, node: Solved) -> None:
    self.body.append("\n" + "".join(self.hypertarget(name) for name in node["ids"]))
    label = self.idescape(node["exercise"])
    self.body.append(rf"\begin{{booksolved}}{{\hyperref[{label}]{{")
    for child in node.pop(0).children:
        child.walkabout(self)
    self.body.append(rf"}}\bookexercise{{{label}}}}}" + "\n")
    self.no_latex_floats += 1


def _depart_solved(self: Any, node: Solved) -> None:
    self.body.append("\n\\end{booksolved}\n")
    self.no_latex_floats -= 1


def _visit_works(self: Any, node: Works) -> None:
    self.body.append("\n\\begin{bookreferences}\n")


def _depart_works(self: Any, node: Works) -> None:
    self.body.append("\n\\end{bookreferences}\n")


def _visit_work(self: Any, node: Work) -> None:
    self.body.append("\n\\item[]")
    for name in node["ids"]:
        self.body.append(rf"\hypertarget{{cite.{BIBLIOGRAPHY}:{name}}}{{}}{self.hypertarget(name)}")


def _depart_work(self: Any, node: Work) -> None:
    """An item ends where the next begins."""


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put the builder in the place of Sphinx's and make its style the default."""
    app.setup_extension("sphinx.builders.latex")
    app.setup_extension("walkthrough")
    app.setup_extension("lab")
    app.setup_extension("post_info")
    app.add_builder(BookLaTeXBuilder, override=True)
    app.add_node(Apart, latex=(_visit_apart, _depart_apart))
    app.add_node(Exercise, latex=(_visit_exercise, _depart_exercise))
    app.add_node(Solved, latex=(_visit_solved, _depart_solved))
    app.add_node(Works, latex=(_visit_works, _depart_works))
    app.add_node(Work, latex=(_visit_work, _depart_work))
    app.connect("config-inited", _configure, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def _configure(app: Sphinx, config: Any) -> None:
    config.latex_elements = {"sphinxsetup": SETUP, **ELEMENTS, **config.latex_elements}
