"""Search over the whole library from an index in small pieces, of which a reader fetches a few.

A reader opens the search with `/`, Ctrl-K or a button; only then `_static/search.js` and the
pieces that a question needs are fetched, a few dozen kilobytes however large the library is. What
is found are sections, with their headings, under their pages; the reader can keep to the book, one
volume or the blog. Chapters come before posts that match as well, and lists (the archive, tags,
the index) are not found at all. The pieces are scripts, not data, because a browser that reads the
pages from a disk loads nothing else. Sphinx's own index, one file of megabytes, is not built.

The index holds, for each word, the sections that answer it best, with their marks: BM25 (Robertson
and Zaragoza 2009), where a word of a heading counts as several of the text. Words are compared
without their endings; `stem` here and in `search.js` must agree.

Pieces in the folder `search` of the site:

- `index.js`: the first word of each piece of the index; which sections belong to what;
- `w<number>.js`: words in alphabetical order, each with pairs of section and mark;
- `s<number>.js`: sections, with page, heading, address and text.

What a page says is kept beside the doctrees when the page is written, so that after an edit the
other pages are not read again; a build that writes no page leaves the index as it is.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import unicodedata
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import library
from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

WORD = re.compile(r"[a-z0-9]+")
# So frequent that they tell no section from another.
STOP = frozenset(
    """a an and are as at be but by for from has have if in into is it its no not of on or so such
    than that the their then there these they this to was we were what when which will with you
    your""".split()  # noqa: SIM905 (read more easily than forty quoted words)
)
SKIPPED = (
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    nodes.substitution_definition,
    addnodes.index,
    addnodes.toctree,
    addnodes.only,
    addnodes.glossary,
    nodes.citation,
    nodes.literal_block,
)
SKIPPED_CLASSES = {"cell_output", "not-in-feed", "toctree-wrapper", "chapter-list", "series-nav"}

HEADING_COUNTS = 5  # as many words of the text
SATURATION, LENGTH = 1.2, 0.6  # BM25's k1 and b
BEST = 150  # sections kept for each word: more than anyone looks through
SHARED = 600  # so many besides, shared among the scopes: a word of every section stays small
BLOG = 1000  # its place among the scopes, after all volumes and the pages between
PIECE = 24_000  # characters in a piece of the index
GROUP = 4  # sections in a piece of text


@dataclass
class Section:
    """What is searched: a heading, the text and the code up to the next, and its address.

    Code is found but not shown: a line torn out of it says nothing.
    """

    anchor: str
    heading: str
    text: str
    code: str = ""


# -- Words -------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words of a text without case, accents and endings."""
    plain = text.lower()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"['’]s\b", "", plain)
    return [stem(word) for word in WORD.findall(plain) if word not in STOP]


@cache
def stem(word: str) -> str:
    """A word without the endings of number, tense and manner: "tokenized" and "tokens" meet."""
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        if word.endswith(ending) and len(word) - len(ending) > 3:
            word = word[: -len(ending)]
            if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


# -- Pages -------------------------------------------------------------------------------------


def sections(doctree: nodes.document) -> Iterator[Section]:
    """The sections of a page, and of the glossary each term."""
    for section in doctree.findall(nodes.section):
        heading = next(iter(section.findall(nodes.title)), None)
        if heading is not None:
            said = " ".join(" ".join(_said(child)) for child in section.children)
            own = " ".join(" ".join(_said(heading)).split())
            text = " ".join(said.split()).removeprefix(own).strip()
            listings = [
                block.astext()
                for block in section.findall(nodes.literal_block)
                if _section_of(block) is section and not _is_output(block)
            ]
            yield Section(section["ids"][0], own, text, "\n".join(listings))
    for glossary in doctree.findall(addnodes.glossary):
        for item in glossary.findall(nodes.definition_list_item):
            term = next(iter(item.findall(nodes.term)))
            meaning = " ".join(" ".join(_said(item[-1])).split())
            if term["ids"]:
                yield Section(term["ids"][0], " ".join("".join(_said(term)).split()), meaning)


def _section_of(node: nodes.Node) -> nodes.Node | None:
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def _is_output(node: nodes.Node) -> bool:
    while node is not None and not isinstance(node, nodes.section):
        if isinstance(node, nodes.Element) and SKIPPED_CLASSES & set(node["classes"]):
            return True
        node = node.parent
    return False


def _said(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Text):
        yield node.astext()
    elif isinstance(node, nodes.Element):
        if isinstance(node, (nodes.section, *SKIPPED)) or SKIPPED_CLASSES & set(node["classes"]):
            return
        if isinstance(node, nodes.TextElement):
            parts = [part for child in node.children for part in _said(child)]
            yield "".join(parts)
        else:
            for child in node.children:
                yield from _said(child)


def _notes(app: Sphinx) -> Path:
    return Path(app.doctreedir, f"search-{app.builder.name}")


def _remember(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Keep what a page says, for this build and for those that leave it as it is."""
    if doctree is None or app.builder.name not in ("html", "dirhtml"):
        return
    if _scope(app.env, pagename)[0] < 0:
        return
    note = _notes(app) / f"{pagename}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    found = [asdict(section) for section in sections(doctree)]
    note.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _scope(env: BuildEnvironment, docname: str) -> tuple[int, str, float]:
    """Where a page stands among the scopes, what a reader calls it, and how much it weighs."""
    if volume := library.volume_of(docname):
        weight = 0.8 if library.chapter_number(docname) is None else 1.5
        return library.volume_number(volume), library.title(env, volume), weight
    if docname in getattr(env, "ablog_posts", {}):
        return BLOG, "Blog", 0.8
    if docname.startswith("blog/") or docname in ("search", "genindex", "404"):
        return -1, "", 0
    return BLOG - 1, "", 1.0 if docname.startswith("reference/") else 0.8


# -- The index ---------------------------------------------------------------------------------


def write_index(app: Sphinx) -> None:
    """Write all pieces anew."""
    env, target = app.env, Path(app.outdir, "search")
    pages = sorted(
        (_scope(env, name)[0], name)
        for name in env.found_docs
        if (_notes(app) / f"{name}.json").is_file() and _scope(env, name)[0] >= 0
    )
    texts: list[list[str]] = []
    counts: list[Counter[str]] = []
    weights: list[float] = []
    spans: dict[int, tuple[int, int]] = {}
    for place, name in pages:
        _, label, weight = _scope(env, name)
        page = library.title(env, name)
        address = app.builder.get_target_uri(name)
        note = json.loads((_notes(app) / f"{name}.json").read_text(encoding="utf-8"))
        for number, found in enumerate(note):
            section = Section(**found)
            counted = Counter(words(section.text) + words(section.code))
            for word in words(section.heading):
                counted[word] += HEADING_COUNTS * (2 if number == 0 else 1)
            anchor = f"#{section.anchor}" if number else ""
            spans[place] = (spans.get(place, (len(texts), 0))[0], len(texts) + 1)
            texts.append([address + anchor, page, section.heading, label, section.text])
            counts.append(counted)
            weights.append(weight)
    if target.exists():
        shutil.rmtree(target)
    target.mkdir()
    firsts = _write_words(target, counts, weights, list(spans.values()))
    for number in range(0, len(texts), GROUP):
        _write_piece(target, f"s{number // GROUP}", texts[number : number + GROUP])
    scopes = [("Everything", 0, len(texts))]
    if book := [span for place, span in spans.items() if place < BLOG]:
        scopes.append(("Book", min(book)[0], max(book)[1]))
    for volume in library.volumes(env):
        if (place := library.volume_number(volume)) in spans:
            scopes.append((library.title(env, volume), *spans[place]))
    if BLOG in spans:
        scopes.append(("Blog", *spans[BLOG]))
    _write_piece(target, "index", {"firsts": firsts, "scopes": scopes, "group": GROUP})


def _write_words(
    target: Path, counts: list[Counter[str]], weights: list[float], spans: list[tuple[int, int]]
) -> list[str]:
    """Write the words with their sections; return the first word of each piece."""
    holders: dict[str, list[tuple[int, int]]] = defaultdict(list)
    lengths = [sum(counted.values()) for counted in counts]
    mean = sum(lengths) / max(1, len(lengths))
    for section, counted in enumerate(counts):
        for word, count in counted.items():
            holders[word].append((section, count))
    pieces: list[dict[str, list[int]]] = [{}]
    size = 0
    for word in sorted(holders):
        held = holders[word]
        rarity = math.log(1 + (len(counts) - len(held) + 0.5) / (len(held) + 0.5))
        marks = []
        for section, count in held:
            norm = SATURATION * (1 - LENGTH + LENGTH * lengths[section] / mean)
            mark = rarity * count * (SATURATION + 1) / (count + norm) * weights[section]
            marks.append((section, max(1, round(20 * mark))))
        flat: list[int] = []
        before = 0
        for section, mark in sorted(_best(marks, spans)):
            flat += [section - before, mark]
            before = section
        pieces[-1][word] = flat
        size += len(word) + 4 + 4 * len(flat)
        if size > PIECE:
            pieces.append({})
            size = 0
    for number, piece in enumerate(pieces):
        _write_piece(target, f"w{number}", piece)
    return [next(iter(piece), "~") for piece in pieces]


def _best(marks: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The best sections of all and the best of each scope: who keeps to one still finds."""
    if len(marks) <= BEST:
        return marks

    def first(entries: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
        return sorted(entries, key=lambda entry: (-entry[1], entry[0]))[:most]

    kept = set(first(marks, BEST))
    share = max(2, min(BEST, SHARED // len(spans)))
    for start, end in spans:
        kept.update(first([entry for entry in marks if start <= entry[0] < end], share))
    return list(kept)


def _write_piece(target: Path, name: str, content: Any) -> None:
    said = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (target / f"{name}.js").write_text(f'bookSearch("{name}",{said})\n', encoding="utf-8")


# -- Sphinx ------------------------------------------------------------------------------------


def _no_builtin_index(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.builder.search = False  # type: ignore[attr-defined]


def _search_page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page of this name, which Sphinx leaves out with its index: old links lead there."""
    yield "search", {}, "search.html"


def _index(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name not in ("html", "dirhtml") or not app.config.book_search:
        return
    index = Path(app.outdir, "search", "index.js")
    written = index.stat().st_mtime_ns if index.is_file() else 0
    kept = {_notes(app) / f"{name}.json" for name in app.env.found_docs}
    notes = list(_notes(app).rglob("*.json"))
    gone = [note for note in notes if note not in kept]
    for note in gone:
        note.unlink()
    if gone or not written or any(note.stat().st_mtime_ns > written for note in notes):
        write_index(app)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Note each page as it is written; write the index at the end."""
    # Off, the index stays as it is: `make live` waits for nothing that a writer does not look at.
    app.add_config_value("book_search", True, "", types=frozenset({bool}))
    app.connect("builder-inited", _no_builtin_index)
    app.connect("html-collect-pages", _search_page)
    app.connect("html-page-context", _remember)
    app.connect("build-finished", _index, priority=900)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
