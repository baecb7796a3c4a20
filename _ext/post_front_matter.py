"""Check the front matter of the blog's posts and hand ABlog only what it can take.

An author writes (`blog/<year>/<slug>.md`)::

    ---
    date: "2026-02-18"            # when it is published; always quoted, no time, no zone
    updated: "2026-03-05"         # optional
    category: "LLM Primer I"
    tags: [tokens, sampling]
    author: contributors          # one key of `blog_authors`, or a list of them
    summary: One or two sentences for the archive, the feed and the link preview.
    ---
    # Title

Every mistake is one warning with file and line, and it is repeated by every build until it is
mended, so that a second `make html` does not pass by not reading the file again. Other extensions
get the checked values from `posts(env)`; a post without a valid date and title is not among them
and is published nowhere.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import front_matter
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
EXAMPLE = 'write it as date: "2026-02-18"'


@dataclass
class Post:
    """What a post says about itself, checked."""

    docname: str
    date: dt.date
    updated: dt.date | None = None
    categories: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    authors: list[str] = field(default_factory=list)
    summary: str = ""
    chapter: str | None = None
    read_in_book: list[str] = field(default_factory=list)
    series: str | None = None
    part: str | None = None
    series_index: str | None = None
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The last part of the post's address."""
        return self.docname.rsplit("/", 1)[-1]


class Checked:
    """What the posts said, kept in the environment from build to build."""

    def __init__(self) -> None:
        self.posts: dict[str, Post] = {}
        self.problems: dict[str, list[tuple[int, str]]] = {}

    def forget(self, docname: str) -> None:
        """Drop a page that is read again or gone."""
        self.posts.pop(docname, None)
        self.problems.pop(docname, None)

    def problem(self, docname: str, line: int, message: str) -> None:
        """Note a mistake; it is shown once all pages are read."""
        self.problems.setdefault(docname, []).append((line, message))


def checked(env: BuildEnvironment) -> Checked:
    """The collection of this environment."""
    if not hasattr(env, "post_front_matter"):
        env.post_front_matter = Checked()  # type: ignore[attr-defined]
    found: Checked = env.post_front_matter  # type: ignore[attr-defined]
    return found


def posts(env: BuildEnvironment) -> dict[str, Post]:
    """Every published post by document name, oldest first."""
    found = checked(env).posts.values()
    return {p.docname: p for p in sorted(found, key=lambda p: (p.date, p.docname))}


def post_of(env: BuildEnvironment, docname: str) -> Post | None:
    """The published post that a page is, if it is one: without a look at all the others."""
    return checked(env).posts.get(docname)


def problem(env: BuildEnvironment, docname: str, key: str, message: str) -> None:
    """Report a mistake in a post at the line of `key`, in this build and until it is mended."""
    post = checked(env).posts.get(docname)
    checked(env).problem(docname, post.lines.get(key, 1) if post else 1, message)


def unpublish(env: BuildEnvironment, docname: str) -> None:
    """Take a post out that cannot be published; its page is left where it is."""
    checked(env).posts.pop(docname, None)


class _Reader:
    """Takes one post's front matter apart, noting each mistake at its line."""

    def __init__(self, app: Sphinx, docname: str, found: front_matter.FrontMatter) -> None:
        self.app, self.docname, self.found = app, docname, found
        self.notes = checked(app.env)

    def warn(self, key: str, message: str) -> None:
        self.notes.problem(self.docname, self.found.lines.get(key, 1), message)

    def date(self, key: str) -> dt.date | None:
        value = self.found.values.get(key)
        example = EXAMPLE.replace("date", key, 1) if key != "date" else EXAMPLE
        if isinstance(value, dt.datetime):
            self.warn(key, f"{key} has a time of day or a zone: {example}")
            return None
        if isinstance(value, dt.date):
            self.warn(key, f'{key} needs quotes: write {key}: "{value}"')
            return value
        text = str(value).strip()
        if DATE.match(text):
            try:
                return dt.date.fromisoformat(text)
            except ValueError:
                self.warn(key, f"{key} {text!r} is not a day of the calendar: {example}")
                return None
        if DATE.match(text[:10]) and re.match(r"[T\s\d:.,Z+-]*(UTC|GMT)?\Z", text[10:]):
            self.warn(key, f"{key} {text!r} has a time of day or a zone: {example}")
        else:
            self.warn(key, f"{key} {text!r} is not a date: {example}")
        return None

    def text(self, key: str) -> str | None:
        value = self.found.values.get(key)
        if value is None or isinstance(value, (dict, list)):
            if value is not None:
                self.warn(key, f"{key} must be one line of text")
            return None
        return " ".join(str(value).split()) or None

    def items(self, key: str) -> list[str]:
        value = self.found.values.get(key)
        if isinstance(value, str):
            value = value.split(",")
        if value is None:
            return []
        if not isinstance(value, (list, int, float)):
            self.warn(key, f"{key} must be a list like [first, second]")
            return []
        items = value if isinstance(value, list) else [value]
        if any(item is None or isinstance(item, (list, dict)) for item in items):
            self.warn(key, f"{key} must be a plain list like [first, second]")
            return []
        named = [" ".join(str(item).split()) for item in items]
        return list(dict.fromkeys(item for item in named if item))

    def post(self) -> Post | None:
        values = self.found.values
        date = None
        if values.get("date") in (None, ""):
            self.warn("date", f"the post has no date: {EXAMPLE}")
        else:
            date = self.date("date")
        updated = self.date("updated") if values.get("updated") not in (None, "") else None
        if date and updated and updated < date:
            self.warn("updated", f"updated {updated} is before the date of the post, {date}")
            updated = None
        summary = self.text("summary")
        if not summary and "summary" not in self.found.lines:
            self.warn("summary", "the post has no summary: write one or two sentences")
        elif not summary and not isinstance(values.get("summary"), (dict, list)):
            self.warn("summary", "the summary is empty: write one or two sentences")
        draft = values.get("draft", False)
        if not isinstance(draft, bool):
            self.warn("draft", "draft must be true or false")
        post = Post(
            self.docname,
            date or dt.date.min,
            updated,
            categories=self.items("category"),
            tags=self.items("tags"),
            authors=self.authors(),
            summary=summary or "",
            chapter=self.text("chapter"),
            read_in_book=self.items("read_in_book"),
            series=self.text("series"),
            part=self.text("part"),
            series_index=self.text("series_index"),
            lines=self.found.lines,
        )
        return post if date and isinstance(draft, bool) else None

    def authors(self) -> list[str]:
        known = self.app.config.blog_authors
        named = self.items("author")
        for name in named:
            if name not in known:
                choice = ", ".join(sorted(known)) or "nobody yet"
                self.warn("author", f"author {name!r} is not in blog_authors (known: {choice})")
        default = self.app.config.blog_default_author or []
        fallback = [default] if isinstance(default, str) else list(default)
        return [name for name in named if name in known] or fallback


def read_source(app: Sphinx, docname: str, content: list[str]) -> None:
    """Check a post before it is parsed, and leave only safe values for ABlog."""
    if docname not in app.config.matched_blog_posts:
        return
    notes = checked(app.env)
    # Bad or not, a post belongs to no toctree: one mistake shall not give two warnings.
    app.env.metadata[docname]["orphan"] = ""
    found = front_matter.parse(content[0])
    if found.error:
        notes.problem(docname, found.error_line, found.error)
        if found.length:
            content[0] = front_matter.replace(content[0], found, {"orphan": True})
        elif content[0].startswith("---"):
            content[0] = content[0][3:]  # a rule at the top of a page would be a second warning
        return
    post = _Reader(app, docname, found).post()
    if post:
        notes.posts[docname] = post
    values = {k: v for k, v in found.values.items() if k not in ("date", "updated", "author")}
    if post:
        values["date"] = post.date.isoformat()
        values["author"] = ", ".join(post.authors)
        values["tags"] = ", ".join(post.tags)
        values["category"] = ", ".join(post.categories)
        # The name under which every other page of the book gives its line for search engines.
        values.setdefault("description", post.summary)
    content[0] = front_matter.replace(content[0], found, values)


def check_slugs(notes: Checked) -> Iterable[tuple[str, int, str]]:
    """A slug names one post, whatever its year: readers quote it, redirects rely on it."""
    first: dict[str, str] = {}
    for docname in sorted(notes.posts):
        slug = notes.posts[docname].slug
        if slug in first:
            yield (
                docname,
                1,
                f"the slug {slug!r} is already taken by {first[slug]}: rename one file",
            )
        first.setdefault(slug, docname)


def report(app: Sphinx, env: BuildEnvironment) -> None:
    """Show every mistake of every post, also those of posts that were not read again."""
    notes = checked(env)
    known = [(name, line, text) for name, rows in notes.problems.items() for line, text in rows]
    for docname, line, message in sorted({*known, *check_slugs(notes)}):
        logger.warning(message, location=(docname, line), type="blog", subtype="front_matter")


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget what a page said before it is read again."""
    checked(env).forget(docname)


def merge(
    app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment
) -> None:
    """Take over what a parallel process read."""
    mine, theirs = checked(env), checked(other)
    for docname in docnames:
        if docname in theirs.posts:
            mine.posts[docname] = theirs.posts[docname]
        if docname in theirs.problems:
            mine.problems[docname] = theirs.problems[docname]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the checks; they need ABlog's list of posts."""
    app.setup_extension("ablog")
    app.connect("source-read", read_source, priority=100)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    # Late: other extensions may add what only they can see.
    app.connect("env-updated", report, priority=900)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
