r"""Plain text for machines: a Markdown page beside every HTML page, and `llms.txt`.

Nothing has to be written for it. Beside `page.html` lies `page.md` with everything that the page
says: exercises and their solutions, formulae as TeX, tables, code and what it printed, figures as
their alternative text and caption, citations as they read. The head of the HTML page announces it.
A link to a page leads to its Markdown, a link to a place in a page to that place in its HTML, where
it has an address. `llms.txt` (https://llmstxt.org) names all of them, each with one line.

The text is made from the tree from which the HTML is made, in the same moment: what transforms have
put there, numbers, cards and lists of posts, is in it, and a page that is not written again keeps
its text. (The package sphinx-llm builds the site a second time and leaves out the exercises.)
"""

from __future__ import annotations

import json
import posixpath
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import library
from ablog.blog import Blog
from babel.dates import format_date
from docutils import nodes
from post_front_matter import post_of, posts
from post_info import post_info
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

MARKDOWN = "text/markdown"
LANGUAGES = {"ipython3": "python", "ipython": "python", "default": "", "none": "text"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What Markdown would take for a sign of its own. "_" inside a word and "*" between spaces are none.
SIGNS = re.compile(r"[\\`$]|\*(?=\S)|(?<=\S)\*|(?<!\w)_|_(?!\w)|(?<=\])[(\[]|<(?=[A-Za-z/!?])")
STARTS = re.compile(r"^(#{1,6}(?=\s)|[-+](?=\s)|>|[=~-]{3,}|\d{1,9}(?=[.)]\s))", re.MULTILINE)
SPACE = re.compile(r"[ \t\r\n\f\v]+")  # not the no-break space, which says something


def _escape(text: str) -> str:
    return SIGNS.sub(lambda found: f"\\{found[0]}", text)


def _indent(block: str, first: str, rest: str) -> str:
    lines = block.split("\n")
    return "\n".join([first + lines[0], *(rest + line if line else "" for line in lines[1:])])


def _quote(blocks: Iterable[str]) -> str:
    lines = "\n\n".join(blocks).split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


class MarkdownWriter:
    """Writes the resolved tree of one page as Markdown."""

    def __init__(self, app: Sphinx, docname: str) -> None:
        self.app, self.env, self.docname = app, app.env, docname
        self.builder: Any = app.builder
        self.depth = 0
        self.in_table = False

    def page(self, doctree: nodes.document) -> str:
        """The page, below a head of the form that other Markdown files have."""
        head = {"title": library.title(self.env, self.docname)}
        if said := description(self.app, self.docname):
            head["description"] = said
        if self.app.config.html_baseurl:
            head["url"] = address(self.app, self.builder.get_target_uri(self.docname))
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
        text = "\n\n".join(self.blocks(doctree.children))
        return "\n".join(["---", *lines, "---", "", text, ""])

    # -- Blocks: each is one or more lines, parted from the next by an empty line

    def blocks(self, children: Iterable[nodes.Node]) -> list[str]:
        """The blocks of some nodes; inline nodes between them are a paragraph."""
        found: list[str] = []
        run: list[nodes.Node] = []

        def end_run() -> None:
            if text := self.words(run):
                found.append(text)
            run.clear()

        for child in children:
            if isinstance(child, nodes.Text | nodes.Inline):
                run.append(child)
            else:
                end_run()
                found += self.block(child)
        end_run()
        return found

    def block(self, node: Any) -> list[str]:
        """One block; what has no rule is its content."""
        for kind in type(node).__mro__:
            if rule := getattr(self, f"block_{kind.__name__}", None):
                return [text for text in rule(node) if text]
        if isinstance(node, nodes.Invisible | addnodes.index):
            return []
        if isinstance(node, nodes.TextElement):
            return [text] if (text := self.words(node.children)) else []
        return self.blocks(node.children)

    def words(self, children: Iterable[nodes.Node]) -> str:
        """The text of a paragraph: one line, whatever the source had."""
        text = "".join(map(self.inline, children))
        lines = [SPACE.sub(" ", line).strip(" ") for line in text.split("\v")]
        text = "\\\n".join(lines).strip()
        return STARTS.sub(
            lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", text
        )

    def block_section(self, node: nodes.section) -> list[str]:
        """A heading of the right depth; the parts of exercises are sections without one."""
        titled = isinstance(node.next_node(), nodes.title)
        self.depth += titled
        found = self.blocks(node.children)
        self.depth -= titled
        return found

    def block_title(self, node: nodes.title) -> Iterator[str]:
        """A heading, or in bold what a box or a table is called."""
        words = self.words(node.children)
        parent = node.parent
        if isinstance(parent, nodes.section):
            numbers = self.env.toc_secnumbers.get(self.docname, {})
            number = numbers.get(f"#{parent['ids'][0]}") or numbers.get("")
            said = ".".join(map(str, number)) + ". " if number else ""
            yield f"{'#' * min(self.depth, 6)} {said}{words}"
        elif isinstance(parent, nodes.table):
            yield f"**{self.number(parent)}{words}**"
        else:
            kind = parent.get("type", "")
            if "%s" in node.get("title", ""):
                words = f"{node['title'] % self.counted(parent, kind)} {words}"
            elif kind == "exercise" and node.get("title"):
                words = f"{node['title']} {words}"
            yield f"**{words}**"

    def counted(self, node: nodes.Element, kind: str) -> str:
        """The number of a figure, a table or an exercise: 2.3."""
        numbers = self.env.toc_fignumbers.get(self.docname, {}).get(kind, {})
        return next((".".join(map(str, numbers[i])) for i in node["ids"] if i in numbers), "")

    def number(self, node: nodes.Element) -> str:
        """What stands before a caption: "Fig. 2.3 "."""
        kind = self.env.domains.standard_domain.get_enumerable_node_type(node) or ""
        number = self.counted(node, kind)
        form = self.app.config.numfig_format.get(kind, "%s")
        return f"{form % number} " if number else ""

    def block_Admonition(self, node: nodes.Element) -> Iterator[str]:
        """A box. Its end must be seen, or what follows would seem to belong to it."""
        yield _quote(self.blocks(node.children))

    def block_exercise_node(self, node: nodes.Element) -> list[str]:
        """Exercises stand one after the other: each ends where the next title begins."""
        return self.blocks(node.children)

    block_exercise_enumerable_node = block_solution_node = block_exercise_node

    def block_block_quote(self, node: nodes.block_quote) -> Iterator[str]:
        """A quotation."""
        yield _quote(self.blocks(node.children))

    def block_literal_block(self, node: nodes.literal_block) -> Iterator[str]:
        """Code, or what it printed."""
        text = ANSI.sub("", node.astext()).rstrip("\n")
        fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`{3,}", text))])
        language = node.get("language", "")
        language = LANGUAGES.get(language, language)
        yield f"{fence}{'output' if 'output' in node['classes'] else language}\n{text}\n{fence}"

    block_doctest_block = block_literal_block

    def block_math_block(self, node: nodes.math_block) -> Iterator[str]:
        """A formula with its number."""
        tex = "\n".join(line for line in node.astext().strip().split("\n") if line.strip())
        if number := self.counted(node, "displaymath"):
            tex += f" \\tag{{{number}}}"
        yield f"$$\n{tex}\n$$"

    def block_bullet_list(self, node: nodes.Element) -> Iterator[str]:
        """Items; close together if each is one block."""
        start = node.get("start", 1)
        numbered = isinstance(node, nodes.enumerated_list)
        items = []
        loose = False
        for count, item in enumerate(node.children):
            mark = f"{start + count}. " if numbered else "- "
            blocks = self.blocks(item.children)
            loose = loose or len(blocks) > 1
            items.append(_indent("\n\n".join(blocks), mark, " " * len(mark)).rstrip())
        yield ("\n\n" if loose else "\n").join(items)

    block_enumerated_list = block_bullet_list

    def block_definition_list_item(self, node: nodes.definition_list_item) -> Iterator[str]:
        """A term and, behind a colon, what it means."""
        terms = [self.words(c.children) for c in node.children if isinstance(c, nodes.term)]
        rest = [child for child in node.children if not isinstance(child, nodes.term)]
        yield "\n".join([*terms, _indent("\n\n".join(self.blocks(rest)), ":   ", "    ")])

    def block_field(self, node: nodes.field) -> Iterator[str]:
        """A field and its value."""
        name, *body = self.blocks(node.children)
        yield f"**{name}:** " + "\n\n".join(body)

    def block_line_block(self, node: nodes.line_block) -> Iterator[str]:
        """Lines that stay lines."""
        yield "\\\n".join(text for child in node.children for text in self.block(child))

    def block_transition(self, node: nodes.transition) -> Iterator[str]:
        """A break."""
        yield "---"

    def block_rubric(self, node: nodes.rubric) -> Iterator[str]:
        """A heading that is not in the contents."""
        yield f"**{self.words(node.children)}**"

    def block_container(self, node: nodes.container) -> list[str]:
        """A card's title is one; all other containers are their content."""
        found = self.blocks(node.children)
        if node.get("design_component") == "card-title":
            return [f"**{' '.join(found)}**"]
        return found

    def block_caption(self, node: nodes.caption) -> Iterator[str]:
        """What a figure says below it."""
        yield f"*{self.number(node.parent).rstrip()}* {self.words(node.children)}".removeprefix(
            "** "
        )

    def block_citation(self, node: nodes.Element) -> Iterator[str]:
        """A work, or a footnote, behind its mark."""
        label, *body = node.children
        yield f"\\[{_escape(label.astext())}\\] " + "\n\n".join(self.blocks(body))

    block_footnote = block_citation

    def block_table(self, node: nodes.table) -> Iterator[str]:
        """A table of one line a row."""
        for title in node.findall(nodes.title):
            yield from self.block_title(title)
        self.in_table = True
        width = len([*node.findall(nodes.colspec)])
        rows = [[self.cell(entry) for entry in row.children] for row in node.findall(nodes.row)]
        self.in_table = False
        sides = ["---"] * width
        for place, entry in enumerate(next(iter(node.findall(nodes.row))).children):
            if "text-right" in entry["classes"]:
                sides[place] = "---:"
            elif "text-center" in entry["classes"]:
                sides[place] = ":---:"
        if not [*node.findall(nodes.thead)]:
            rows.insert(0, [])
        rows = [row + [""] * (width - len(row)) for row in rows]
        yield "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], sides, *rows[1:]])

    def cell(self, entry: nodes.entry) -> str:
        """The content of a cell, on one line."""
        text = "<br>".join("\n".join(self.blocks(entry.children)).split("\n"))
        return re.sub(r"(?<!\\)\|", r"\\|", text)

    def block_post_info(self, node: post_info) -> Iterator[str]:
        """When a post was published, by whom, where it belongs."""
        post = Blog(self.app).posts[self.docname]
        language = self.app.config.language or "en"
        said = [format_date(post.date, "long", locale=language)]
        if post.update > post.date:
            said.append(f"updated {format_date(post.update, 'long', locale=language)}")
        said.append(f"{node['minutes']} min read")
        said += [", ".join(map(str, post.author))] * bool(post.author)
        yield _escape(" · ".join(said))
        yield _escape(" · ".join(map(str, [*post.category, *post.tags])))

    # -- Inside a paragraph; a vertical tab is a line break

    def inline(self, node: Any) -> str:
        """The text of an inline node."""
        if isinstance(node, nodes.Text):
            return _escape(str(node).replace("\v", " "))
        for kind in type(node).__mro__:
            if rule := getattr(self, f"inline_{kind.__name__}", None):
                return str(rule(node))
        if isinstance(node, addnodes.index | nodes.comment):
            return ""
        return "".join(map(self.inline, node.children))

    def inline_emphasis(self, node: nodes.Element, sign: str = "*") -> str:
        """Emphasis; spaces at its ends would make the signs ordinary ones."""
        text = "".join(map(self.inline, node.children))
        inner = text.strip()
        return text.replace(inner, f"{sign}{inner}{sign}", 1) if inner else text

    inline_title_reference = inline_emphasis

    def inline_strong(self, node: nodes.strong) -> str:
        """Strong emphasis."""
        return self.inline_emphasis(node, "**")

    def inline_literal(self, node: nodes.literal) -> str:
        """Code in a line."""
        text = SPACE.sub(" ", node.astext())
        ticks = "`" * (max([0, *map(len, re.findall("`+", text))]) + 1)
        space = " " if text[:1] in "`" or text[-1:] in "`" else ""
        return f"{ticks}{space}{text}{space}{ticks}"

    def inline_math(self, node: nodes.math) -> str:
        """A formula in a line."""
        tex = SPACE.sub(" ", node.astext()).strip()
        if self.in_table:  # where a bar would end the cell
            tex = tex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
        return f"${tex}$"

    def inline_subscript(self, node: nodes.Element) -> str:
        """Markdown has no sign of its own for these."""
        return f"<sub>{''.join(map(self.inline, node.children))}</sub>"

    def inline_superscript(self, node: nodes.Element) -> str:
        """See there."""
        return f"<sup>{''.join(map(self.inline, node.children))}</sup>"

    def inline_footnote_reference(self, node: nodes.Element) -> str:
        """The mark of a footnote."""
        return f"\\[{node.astext()}\\]"

    def inline_image(self, node: nodes.image) -> str:
        """A picture: what it shows, and where it lies."""
        file = self.builder.images.get(node["uri"])
        uri = posixpath.join(self.builder.imgpath, file) if file else node["uri"]
        alt = re.sub(r"([\[\]\\])", r"\\\1", SPACE.sub(" ", node.get("alt", "")).strip())
        return f"![{alt}]({_target(self.picture(uri))})"

    def inline_raw(self, node: nodes.raw) -> str:
        """HTML may stand in Markdown; a line break is one."""
        if "html" not in node.get("format", "").split():
            return ""
        return re.sub(r"<br\s*/?>\s*", "\v", node.astext())

    def inline_reference(self, node: nodes.reference) -> str:
        """A link."""
        text = "".join(map(self.inline, node.children))
        uri = node.get("refuri") or f"#{node.get('refid', '')}"
        inner = text.strip()
        if not inner or uri == "#":
            return text
        if node.astext() == uri and ":" in uri:
            return f"<{uri}>"
        return text.replace(inner, f"[{inner}]({_target(self.place(uri))})", 1)

    def place(self, uri: str) -> str:
        """Where a link leads: to a page's Markdown, or to a place in its HTML."""
        path, sign, fragment = uri.partition("#")
        suffix = self.builder.out_suffix
        if ":" in path or path.startswith("/"):
            return uri
        if not path:
            path = posixpath.basename(self.builder.get_target_uri(self.docname))
        if fragment:
            return f"{path}{sign}{fragment}"
        here = posixpath.dirname(self.docname)
        name = posixpath.normpath(posixpath.join(here, unquote(path))).removesuffix(suffix)
        return path.removesuffix(suffix) + ".md" if name in self.env.all_docs else uri

    def picture(self, uri: str) -> str:
        """Where a picture lies."""
        return uri

    def inline_download_reference(self, node: nodes.Element) -> str:
        """A link to a file that was copied into the site."""
        text = "".join(map(self.inline, node.children))
        if "filename" not in node:
            return text
        return f"[{text}]({_target(posixpath.join(self.builder.dlpath, node['filename']))})"


def _target(uri: str) -> str:
    return f"<{uri}>" if re.search(r"[\s()]", uri) else uri


# -- Sphinx ------------------------------------------------------------------------------------


def wanted(app: Sphinx) -> bool:
    """Whether this builder makes a site."""
    return app.builder.name == "html"


def address(app: Sphinx, path: str) -> str:
    """An address of the site: absolute, if the site knows where it will stand."""
    base = app.config.html_baseurl
    return f"{base.rstrip('/')}/{path}" if base else path


def description(app: Sphinx, docname: str) -> str:
    """What a page says of itself in one line."""
    post = post_of(app.env, docname)
    said = post.summary if post else str(app.env.metadata[docname].get("description", ""))
    return " ".join(said.split())


def write_page(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Write the Markdown of a page that somebody wrote, and announce it."""
    if doctree is None or not wanted(app) or pagename not in app.env.all_docs:
        return
    file = Path(app.outdir, f"{pagename}.md")
    text = MarkdownWriter(app, pagename).page(doctree)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    href = escape(posixpath.basename(pagename))
    link = f'<link rel="alternate" type="{MARKDOWN}" href="{href}.md" />'
    context["metatags"] = "\n".join([context.get("metatags") or "", link])


def index(app: Sphinx) -> str:
    """What `llms.txt` says: chapters by volume, posts, everything else."""
    env, root = app.env, app.config.root_doc
    sections: list[tuple[str, list[str]]] = []
    for volume in library.volumes(env):
        chapters = [name for part in library.parts(env, volume) for name in part.chapters]
        sections.append((library.title(env, volume), [volume, *chapters]))
    published = sorted(
        posts(env).values(), key=lambda post: (post.date, post.docname), reverse=True
    )
    written = [post.docname for post in published if post.docname in env.titles]
    sections.append(("Blog posts, newest first", written))
    named = {root, *(name for _, names in sections for name in names)}
    rest = sorted(env.all_docs.keys() - named)
    reference = [name for name in rest if name.startswith("reference/")]
    sections.append(("Reference", reference))
    # Of this section a reader with little room may leave out everything.
    sections.append(("Optional", [name for name in rest if name not in reference]))

    blocks = [f"# {app.config.project}"]
    if said := description(app, root):
        blocks.append(f"> {said}")
    blocks.append(
        "Every page of the site also exists as Markdown, under its address with .md in the place "
        "of .html, complete with exercises, solutions, formulae as TeX, code and its output."
    )
    for heading, names in sections:
        if names:
            blocks += [f"## {heading}", "\n".join(_line(app, name) for name in names)]
    return "\n\n".join(blocks) + "\n"


def _line(app: Sphinx, docname: str) -> str:
    title = library.title(app.env, docname)
    number = library.chapter_number(docname)
    title = f"{number}. {title}" if number is not None else title
    post = post_of(app.env, docname)
    said = [post.date.isoformat()] if post else []
    said += filter(None, [description(app, docname)])
    link = f"- [{title}]({address(app, docname)}.md)"
    return f"{link}: {'. '.join(said)}" if said else link


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Write llms.txt beside the pages."""
    if not exception and wanted(app):
        Path(app.outdir, "llms.txt").write_text(index(app), encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write each page's text with the page, and the index when all else is done."""
    app.setup_extension("post_info")
    app.connect("html-page-context", write_page)
    app.connect("build-finished", write_index)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
