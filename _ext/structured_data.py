"""What a page is, in the words of schema.org, for search engines and other readers of data.

Nothing has to be written for it. The landing page is a WebSite, the series page a BookSeries, a
volume a Book, a chapter a Chapter of it with its place, the archive a Blog, a post a BlogPosting
with its days and authors; every page but the first says where it stands (BreadcrumbList). It is one
JSON-LD element in the head. What belongs together names each other by `@id`, which is an address of
the site; a site without `html_baseurl` has none and says nothing.

In `conf.py`: `structured_data_license`, the address of the license of the text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import library
from ablog.blog import Blog
from link_previews import FOLDER, card
from plain_text import address, description, wanted
from post_front_matter import post_of, posts

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

Data = dict[str, Any]


class Describer:
    """Says what the pages of a site are."""

    def __init__(self, app: Sphinx) -> None:
        self.app, self.env, self.config = app, app.env, app.config
        self.archive = Blog(app).posts.docname

    def url(self, docname: str) -> str:
        """The address of a page; of the landing page that of the site."""
        if docname == self.config.root_doc:
            return address(self.app, "")
        builder: Any = self.app.builder
        return address(self.app, builder.get_target_uri(docname))

    def title(self, docname: str) -> str:
        """The title of a page."""
        if docname == self.archive:
            return str(self.config.blog_title)
        return library.title(self.env, docname)

    def reference(self, kind: str, docname: str) -> Data:
        """Another page, as far as it must be known here."""
        url = self.url(docname)
        return {"@type": kind, "@id": url, "name": self.title(docname), "url": url}

    def author(self, name: str, url: str | None = None) -> Data:
        """Who wrote something: the contributors together, or one of them."""
        kind = "Organization" if name == self.config.author else "Person"
        return {"@type": kind, "name": name, **({"url": url} if url else {})}

    def work(self, kind: str, docname: str) -> Data:
        """What all works of this site say."""
        said = description(self.app, docname) if docname in self.env.all_docs else ""
        return {
            **self.reference(kind, docname),
            **({"description": said} if said else {}),
            "inLanguage": self.config.language or "en",
            "author": self.author(self.config.author),
            "isAccessibleForFree": True,
            **({"license": li} if (li := self.config.structured_data_license) else {}),
        }

    # -- The kinds of pages

    def page(self, docname: str) -> list[Data]:
        """What a page is, and where it stands."""
        things = []
        if docname == self.config.root_doc:
            return [self.work("WebSite", docname)]
        if docname == library.SERIES_PAGE:
            things = [self.series()]
        elif docname in library.volumes(self.env):
            things = [self.volume(docname)]
        elif library.chapter_number(docname) is not None:
            things = [self.chapter(docname)]
        elif docname == self.archive:
            things = [self.work("Blog", docname)]
        elif post_of(self.env, docname):
            things = [self.post(docname)]
        return [*things, self.breadcrumbs(docname)]

    def series(self) -> Data:
        """All volumes."""
        volumes = library.volumes(self.env)
        parts = [self.reference("Book", volume) for volume in volumes]
        return {**self.work("BookSeries", library.SERIES_PAGE), "hasPart": parts}

    def volume(self, docname: str) -> Data:
        """A book of the series and its chapters."""
        names = [name for part in library.parts(self.env, docname) for name in part.chapters]
        chapters = [
            {**self.reference("Chapter", name), "position": library.chapter_number(name)}
            for name in names
        ]
        made = self.work("Book", docname)
        made["bookFormat"] = "https://schema.org/EBook"
        made["image"] = self.picture(docname)
        if library.SERIES_PAGE in self.env.titles:
            made["isPartOf"] = self.reference("BookSeries", library.SERIES_PAGE)
            made["position"] = library.volumes(self.env).index(docname) + 1
        return {**made, "hasPart": chapters}

    def chapter(self, docname: str) -> Data:
        """A chapter, its place and its book."""
        made = self.work("Chapter", docname)
        made["position"] = library.chapter_number(docname)
        made["image"] = self.picture(docname)
        volume = library.volume_of(docname)
        if volume in self.env.titles:
            made["isPartOf"] = self.reference("Book", volume)
        return made

    def post(self, docname: str) -> Data:
        """A post: when, by whom, of what."""
        post, listed = posts(self.env)[docname], Blog(self.app).posts[docname]
        made = self.work("BlogPosting", docname)
        made["headline"] = made["name"]
        made["mainEntityOfPage"] = made["url"]
        made["image"] = self.picture(docname)
        made["datePublished"] = post.date.isoformat()
        made["dateModified"] = (post.updated or post.date).isoformat()
        made["author"] = [self.author(str(one.name), one.href) for one in listed.author]
        made["publisher"] = self.author(self.config.author)
        made["isPartOf"] = self.reference("Blog", self.archive)
        if post.tags:
            made["keywords"] = list(post.tags)
        if post.chapter in self.env.titles:
            made["about"] = self.reference("Chapter", str(post.chapter))
        return made

    def picture(self, docname: str) -> str:
        """The picture of the link preview."""
        return address(self.app, f"{FOLDER}/{card(self.app, docname).name}")

    def breadcrumbs(self, docname: str) -> Data:
        """The way from the landing page to a page."""
        way = [self.config.root_doc]
        if volume := library.volume_of(docname):
            way += [library.SERIES_PAGE, volume]
        elif post_of(self.env, docname):
            way.append(self.archive)
        known = [name for name in way if name in self.env.titles or name == self.archive]
        items = [
            {
                "@type": "ListItem",
                "position": place,
                "name": self.title(name),
                "item": self.url(name),
            }
            for place, name in enumerate(dict.fromkeys([*known, docname]), 1)
        ]
        return {"@type": "BreadcrumbList", "itemListElement": items}


def describe(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Put what a page is into its head."""
    if not wanted(app) or not app.config.html_baseurl:
        return
    describer = Describer(app)
    written = doctree is not None and pagename in app.env.all_docs
    if not written and pagename != describer.archive:
        return
    data = {"@context": "https://schema.org", "@graph": describer.page(pagename)}
    # In a script element nothing may look like its end.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    made = f'<script type="application/ld+json">{text}</script>'
    context["metatags"] = "\n".join([context.get("metatags") or "", made])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Describe each page when it is written."""
    app.setup_extension("ablog_mends")
    app.setup_extension("link_previews")
    app.add_config_value("structured_data_license", "", "html", types=frozenset({str}))
    app.connect("html-page-context", describe)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
