"""The sidebar: what belongs together is near, and its size does not grow with the library.

Inside a volume a reader sees its chapters with their numbers and parts, the page they are on, and
the ways to the neighbouring volumes, the series page, the blog and the reference pages. In the blog
it is the newest posts, the series, categories and years. The theme's own sidebar has a link to
every page of the site in every page: most of the time of a build and of the bytes of a page.

The navigation is rendered once for each volume (and each folder, since links are relative); for
each page only the line of that page is marked. When what it shows has changed since the last build,
all pages that carry it are written again.

Previous and next at the foot of a page stay inside the volume, up to the next volume's first page.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import library
from ablog.blog import Blog
from markupsafe import Markup, escape
from post_front_matter import posts
from sphinx.util.osutil import relative_uri

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

MOST = 8  # lines in any list that would otherwise grow with the library


@dataclass(frozen=True)
class Entry:
    """A line of the sidebar: a page, how it is called, and a chapter's number."""

    page: str
    title: str
    number: int | None = None


@dataclass(frozen=True)
class Group:
    """Lines under a caption, which may itself be a link."""

    caption: str
    entries: tuple[Entry, ...] = ()
    page: str = ""
    is_part: bool = False


@dataclass
class Sidebars:
    """The sidebars of this build: what they say, and as HTML once they have been used."""

    groups: dict[str, tuple[Group, ...]]
    html: dict[tuple[str, str], str] = field(default_factory=dict)


def kind_of(app: Sphinx, pagename: str) -> str:
    """Which sidebar a page has: that of its volume, the blog's or the one of all other pages."""
    volume = library.volume_of(pagename)
    if volume in app.env.all_docs:
        return str(volume)
    return "blog" if pagename.startswith(f"{app.config.blog_path}/") else ""


def entry(env: BuildEnvironment, page: str, number: int | None = None) -> Entry:
    """A line for a page of the book or a post."""
    return Entry(page, library.title(env, page), number)


def volume_groups(env: BuildEnvironment, volume: str, volumes: list[str]) -> list[Group]:
    """The chapters of a volume by parts, and the ways to the volumes beside it."""
    groups = [Group(library.title(env, volume), page=volume)]
    for part in library.parts(env, volume):
        chapters = tuple(entry(env, n, library.chapter_number(n)) for n in part.chapters)
        groups.append(Group(part.caption, chapters, is_part=True))
    place = volumes.index(volume)
    beside = volumes[max(place - 1, 0) : place] + volumes[place + 1 : place + 2]
    return [*groups, library_group(env, "Other volumes", beside)]


def library_group(env: BuildEnvironment, caption: str, volumes: list[str]) -> Group:
    """Some volumes and the page with all of them."""
    pages = volumes + [library.SERIES_PAGE] * (library.SERIES_PAGE in env.all_docs)
    return Group(caption if pages else "", tuple(entry(env, page) for page in pages))


def blog_groups(app: Sphinx) -> list[Group]:
    """The archive, the newest posts, and the collections that lead to all others."""
    env, blog = app.env, Blog(app)
    newest = sorted(posts(env).values(), key=lambda post: (post.date, post.docname), reverse=True)
    written = [post for post in newest if post.docname in env.titles]
    indexes = [post.docname for post in written if post.series_index]

    def collections(caption: str, catalog: Any) -> Group:
        found = [collection for collection in catalog if len(collection)]
        entries = tuple(Entry(c.docname, f"{c} ({len(c)})") for c in found[:MOST])
        return Group(caption, entries, page=catalog.docname) if entries else Group("")

    return [
        Group("All posts", page=blog.posts.docname),
        Group("Newest", tuple(entry(env, post.docname) for post in written[:5])),
        Group("Series", tuple(entry(env, name) for name in indexes[:MOST])),
        collections("Categories", blog.category),
        collections("Years", blog.archive),
    ]


def other_pages(app: Sphinx) -> Group:
    """The blog and the pages that the root page's toctrees name beside the volumes."""
    env = app.env
    pages = [
        page
        for page in env.toctree_includes.get(app.config.root_doc, [])
        if page in env.titles and page != library.SERIES_PAGE and not library.volume_of(page)
    ]
    blog = [Entry(Blog(app).posts.docname, "Blog")] if posts(env) else []
    return Group("More", (*blog, *(entry(env, page) for page in pages[:MOST])))


def collect(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Say what every sidebar shows; return the pages whose sidebar shows something else now."""
    if app.builder.format != "html":
        return []
    volumes, more = library.volumes(env), other_pages(app)
    groups = {volume: (*volume_groups(env, volume, volumes), more) for volume in volumes}
    the_book = library_group(env, "The book", volumes[:MOST])
    groups[""] = (the_book, more)
    groups["blog"] = (*blog_groups(app), library_group(env, "The book", []))
    app.volume_sidebars = Sidebars(groups)  # type: ignore[attr-defined]
    before = getattr(env, "volume_sidebars_shown", {})
    env.volume_sidebars_shown = groups  # type: ignore[attr-defined]
    changed = {kind for kind in groups if groups[kind] != before.get(kind)}
    return sorted(name for name in env.all_docs if kind_of(app, name) in changed)


def render(app: Sphinx, pagename: str) -> Markup:
    """The sidebar of one page, from the stored one of its volume and folder."""
    builder: Any = app.builder
    sidebars: Sidebars = app.volume_sidebars  # type: ignore[attr-defined]
    kind, folder = kind_of(app, pagename), posixpath.dirname(builder.get_target_uri(pagename))
    # The page that says that there is none is shown at any address: its links begin at the root.
    anywhere = pagename == getattr(app.config, "notfound_pagename", None)
    if anywhere:
        folder = app.config.notfound_urls_prefix or "/"

    def href(page: str) -> str:
        if anywhere:
            return f"{folder.rstrip('/')}/{builder.get_target_uri(page)}"
        # From a page of this folder that cannot be meant: a link to itself would come out empty.
        return relative_uri(f"{folder}/-" if folder else "-", builder.get_target_uri(page))

    key = (kind, folder)
    if key not in sidebars.html:
        context = {"groups": sidebars.groups[kind], "href": href}
        sidebars.html[key] = builder.templates.render("volume-sidebar-nav.html", context)
    link = f'<a href="{escape(href(pagename))}">'
    html = sidebars.html[key]
    html = html.replace(f'<li class="toctree-l1">{link}', f'<li class="toctree-l1 current">{link}')
    return Markup(html.replace(link, link.replace(">", ' aria-current="page">')))


def page_context(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the sidebar to the templates, and keep previous and next inside the volume."""
    context["volume_sidebar"] = lambda: render(app, pagename)
    volume = library.volume_of(pagename)
    neighbours = getattr(app.builder, "relations", {}).get(pagename, (None, None, None))
    for way, name in zip(("prev", "next"), neighbours[1:], strict=True):
        inside = name and volume and library.volume_of(name) in (volume, name)
        if not inside:
            context[way] = None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect; the sidebar is put in place by `volume-sidebar.html` in `html_sidebars`."""
    app.setup_extension("ablog_mends")
    # After ABlog has been told of all posts, and before anything is written.
    app.connect("env-updated", collect, priority=600)
    app.connect("html-page-context", page_context)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
