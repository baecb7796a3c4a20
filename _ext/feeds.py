"""Write Atom feeds of the whole blog, of each category and of each tag (RFC 4287).

A reader subscribes to `blog/atom.xml`, `blog/category/<name>/atom.xml` or
`blog/tag/<name>/atom.xml`; the head of every page announces the first, and that of a post or of a
collection its own feeds too.
An entry holds the text as the page shows it, with absolute addresses and mathematics as readable
text; what only makes sense on the site carries the class `not-in-feed` and stays there.

Configuration: `html_baseurl`, from which all addresses are made; `feeds_authority`, a host name and
a year in which it was ours ("example.org,2026"), from which all ids are made and which therefore
never changes, even if the site moves; `feeds_full_text`, how many of the newest entries of a feed
hold the whole text (the others hold their summary).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import lxml.html
import post_front_matter
from ablog.blog import Blog
from docutils import nodes
from feedgen.entry import FeedEntry
from feedgen.ext.base import BaseEntryExtension
from feedgen.feed import FeedGenerator
from mathtext import replace_math
from post_front_matter import Post
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

ATOM = "application/atom+xml"
# XML has no place for these, and a page may have them (the output of a cell, say).
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What a feed reader cannot run or would show out of place.
SITE_ONLY = (
    "//script | //style | //noscript | //template | //button | //form | //input | //textarea"
    " | //select | //a[contains(concat(' ', @class, ' '), ' headerlink ')]"
    " | //*[contains(concat(' ', @class, ' '), ' not-in-feed ')]"
    # A heavy drawing stands in the page twice, for either mode.
    " | //img[contains(concat(' ', @class, ' '), ' drawing-dark ')]"
)


@dataclass
class Feed:
    """One feed: where it is, what it is called, which posts it has."""

    folder: str
    title: str
    page: str
    posts: list[Any]

    @property
    def path(self) -> str:
        """Its address below the site's."""
        return f"{self.folder}/atom.xml"


def missing(config: Any) -> str:
    """What the configuration lacks, without which a feed could have no address or no id."""
    if not config.html_baseurl:
        return "there is no html_baseurl"
    if not re.fullmatch(r"[a-z0-9.-]+,\d{4}(-\d{2}){0,2}", config.feeds_authority):
        return 'feeds_authority must be a host and a year, like "example.org,2026"'
    return ""


def wanted(app: Sphinx) -> bool:
    """Whether this builder makes a site with an address of its own."""
    return app.builder.name in ("html", "dirhtml") and not missing(app.config)


def feeds(blog: Any) -> list[Feed]:
    """All feeds that have entries: that of the blog first."""
    found = [Feed(blog.blog_path, blog.blog_title, blog.posts.docname, list(blog.posts))]
    for kind in (blog.category, blog.tags):
        found += [of_collection(blog, coll) for coll in kind if len(coll)]
    return [feed for feed in found if feed.posts]


def of_collection(blog: Any, collection: Any) -> Feed:
    """The feed of one category or tag."""
    folder = collection.docname.removesuffix("/index")
    return Feed(folder, f"{blog.blog_title} – {collection}", collection.docname, list(collection))


def address(app: Sphinx, path: str) -> str:
    """The absolute address of something below the site's."""
    return urljoin(app.config.html_baseurl.rstrip("/") + "/", path)


def page_address(app: Sphinx, docname: str, fragment: str = "") -> str:
    """The absolute address of a page."""
    return address(app, app.builder.get_target_uri(docname)) + fragment


def identity(app: Sphinx, name: str) -> str:
    """A tag URI (RFC 4151): it stays when titles, file endings or the host change."""
    return f"tag:{app.config.feeds_authority}:{quote(name)}"


def midnight(day: dt.date) -> dt.datetime:
    """Days as the feed writes them, the same in every zone."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def text(value: object) -> str:
    """A string that may stand in XML."""
    return NO_XML.sub("", str(value))


def announce(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Name the feeds in the head of the page; keep the text of a post for its entries."""
    if not wanted(app):
        return
    blog = Blog(app)
    here = [Feed(blog.blog_path, blog.blog_title, "", list(blog.posts))]
    post = blog.posts[pagename]
    if post:
        here += [of_collection(blog, coll) for coll in [*post.category, *post.tags]]
        keep = body_file(app, pagename)
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.write_text(context.get("body", ""), encoding="utf-8")
    collection = context.get("collection")
    if collection is not None and getattr(collection, "catalog", None) in (
        blog.category,
        blog.tags,
    ):
        here.append(of_collection(blog, collection))
    links = [
        f'<link rel="alternate" type="{ATOM}" title="{escape(text(feed.title))}"'
        f' href="{escape(context["pathto"](feed.path, 1))}" />'
        for feed in here
        if feed.posts
    ]
    context["metatags"] = "\n".join([context.get("metatags") or "", *links])


def body_file(app: Sphinx, docname: str) -> Path:
    """Where the text of a written post waits, for this build and for those that leave it as it is.

    A file, because pages are written by several processes.
    """
    return Path(app.doctreedir) / "feed-entries" / app.builder.name / f"{docname}.html"


def content(app: Sphinx, docname: str) -> str:
    """The text of a post, fit to be read anywhere."""
    source = body_file(app, docname)
    if not source.exists():
        return ""
    page = page_address(app, docname)
    body = lxml.html.fragment_fromstring(source.read_text(encoding="utf-8"), create_parent="div")
    for title in body.xpath("(.//h1)[1]"):
        title.drop_tree()
    for element in body.xpath(SITE_ONLY):
        if element.getparent() is not None:
            element.drop_tree()
    replace_math(body)
    for drawing in body.xpath(".//svg[@data-src]"):  # readers of feeds drop what is not a file
        image = drawing.makeelement("img", src=drawing.get("data-src"))
        image.set("alt", drawing.get("aria-label", ""))
        image.tail = drawing.tail
        drawing.getparent().replace(drawing, image)
    for element in body.iter():
        element.attrib.pop("id", None)  # several entries may stand on one page of a reader
    body.make_links_absolute(page)
    inner = [lxml.html.tostring(child, encoding="unicode") for child in body]
    return text(escape(body.text or "", quote=False) + "".join(inner)).strip()


class RelatedLinks(BaseEntryExtension):
    """Links of an entry with all their attributes: feedgen 1.0 writes only the address."""

    def __init__(self) -> None:
        self.links: list[dict[str, str]] = []

    def extend_atom(self, entry: Any) -> None:
        """Called by feedgen once it has written the rest of the entry."""
        for link in self.links:
            entry.append(entry.makeelement("link", link))


class Writer:
    """Writes all feeds of one build; a post's text is made once, however many feeds have it."""

    def __init__(self, app: Sphinx) -> None:
        self.app = app
        self.blog = Blog(app)
        self.known = post_front_matter.posts(app.env)
        self.contents: dict[str, str] = {}

    def content(self, docname: str) -> str:
        """The text of a post."""
        if docname not in self.contents:
            self.contents[docname] = content(self.app, docname)
        return self.contents[docname]

    def feed(self, feed: Feed) -> bytes:
        """The feed as it is written to its file."""
        made = FeedGenerator()
        made.id(identity(self.app, feed.path))
        made.title(text(feed.title))
        made.language(self.app.config.language or "en")
        made.link(href=address(self.app, quote(feed.path)), rel="self", type=ATOM)
        made.link(href=page_address(self.app, feed.page), rel="alternate", type="text/html")
        made.updated(midnight(max(post.update for post in feed.posts)))
        for number, post in enumerate(feed.posts):
            made.add_entry(self.entry(post, number), order="append")
        written: bytes = made.atom_str(pretty=True)
        return written.replace(b"T00:00:00+00:00</", b"T00:00:00Z</")

    def entry(self, post: Any, number: int) -> FeedEntry:
        """One post; only the first ones of a feed hold their text."""
        values = self.known[post.docname]
        made = FeedEntry()
        made.id(identity(self.app, post.docname))
        made.title(text(post.title))
        made.published(midnight(post.date))
        made.updated(midnight(post.update))
        for author in post.author:
            made.author(
                {"name": text(author.name), **({"uri": author.href} if author.href else {})}
            )
        for collection in [*post.category, *post.tags]:
            scheme = page_address(self.app, collection.catalog.docname)
            made.category(term=text(collection.label), scheme=scheme, label=text(collection.name))
        page = page_address(self.app, post.docname)
        made.link(href=page)  # without a relation a link is the entry's own page
        made.register_extension("related", RelatedLinks, rss=False)
        made.related.links = [
            {
                "rel": "related",
                "type": "text/html",
                "href": page_address(self.app, docname),
                "title": text(self.app.env.titles[docname].astext()),
            }
            for docname in self.chapters(values)
        ]
        made.summary(text(values.summary) or None)
        body = self.content(post.docname) if number < self.app.config.feeds_full_text else ""
        if body:
            made.content(body, type="html")
        return made

    def chapters(self, values: Post) -> list[str]:
        """The chapters that the post walks through or sends its reader to."""
        named = [values.chapter, *values.read_in_book] if values.chapter else values.read_in_book
        return [name for name in dict.fromkeys(named) if name in self.app.env.titles]


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write every feed that has changed and remove those that no post has any more."""
    if exception or not wanted(app):
        return
    writer = Writer(app)
    root = Path(app.outdir)
    kept = set()
    for feed in feeds(writer.blog):
        file = root / feed.path
        kept.add(file)
        data = writer.feed(feed)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_bytes() != data:
            file.write_bytes(data)
    for file in set((root / writer.blog.blog_path).rglob("atom.xml")) - kept:
        file.unlink()


def check(app: Sphinx, config: Any) -> None:
    """Say once why there are no feeds."""
    if lacks := missing(config):
        logger.warning("no feeds: %s in conf.py", lacks, type="blog", subtype="feeds")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the feeds; ABlog's own are switched off by `blog_feed_templates = {}`."""
    app.setup_extension("ablog_mends")
    app.add_config_value("feeds_authority", "", "html", types=frozenset({str}))
    app.add_config_value("feeds_full_text", 30, "html", types=frozenset({int}))
    app.connect("config-inited", check)
    app.connect("html-page-context", announce)
    app.connect("build-finished", write)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
