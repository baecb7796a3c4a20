"""Mend what ABlog 0.11 gets wrong for a book: parallel and incremental builds, labels, addresses.

Readers find the archive at `blog/index.html`, and every collection at the index of its own folder
(`blog/2026/`, `blog/tag/sampling/`). Authors notice that nothing surprises them: `-j` works, a tag
page can be referred to, a post's file name hides no chapter's label, a changed title shows in every
list of posts after an incremental build.

ABlog's own functions keep doing the work; each is called with what it needs and its side effects
are undone here. See the comment at each mend.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import ablog
import ablog.blog
import ablog.post
import post_front_matter
from ablog.blog import Blog
from babel.dates import format_date
from docutils import nodes
from post_front_matter import Post
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

Page = tuple[str, dict[str, Any], str]


def shows_posts(env: BuildEnvironment, docname: str) -> None:
    """Have a page written again whenever what the blog shows of its posts changes."""
    if not hasattr(env, "pages_showing_posts"):
        env.pages_showing_posts = set()  # type: ignore[attr-defined]
    env.pages_showing_posts.add(docname)  # type: ignore[attr-defined]


def read_post(app: Sphinx, doctree: nodes.document) -> None:
    """Let ABlog collect a post, then give it the values that were checked."""
    env = app.env
    docname = env.current_document.docname
    if any(doctree.findall(ablog.post.PostList)):
        shows_posts(env, docname)
    post = post_front_matter.checked(env).posts.get(docname)
    if post and not any(isinstance(node, nodes.section) for node in doctree.children):
        post_front_matter.problem(env, docname, "title", "the post has no title: write `# Title`")
        post_front_matter.unpublish(env, docname)
        post = None
    if not post:  # ABlog would publish an undated page and stumble over one without a title
        for node in list(doctree.findall(ablog.post.PostNode)):
            node.parent.remove(node)
        return
    # ABlog makes the file name of each post a label of the whole book, which would hide a
    # chapter's label of that name: it writes into a dictionary that is thrown away.
    labels = env.domains["std"].data
    kept = {key: labels[key] for key in ("labels", "anonlabels")}
    try:
        labels.update({key: {} for key in kept})
        ablog.post.process_posts(app, doctree)
    finally:
        labels.update(kept)
    for info in env.ablog_posts.get(docname, []):  # type: ignore[attr-defined]
        dates = [info["update"], midnight(post.updated)] if post.updated else [info["update"]]
        info.update(
            update=max(dates),
            tags=list(post.tags),
            category=list(post.categories),
            author=list(post.authors),
            excerpt=[nodes.paragraph("", post.summary)] if post.summary else [],
            doctree=None,  # only ABlog's own feeds need it, and it doubles the environment
        )


def midnight(day: dt.date) -> dt.datetime:
    """The form in which ABlog keeps days."""
    return dt.datetime(day.year, day.month, day.day)


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget a page's posts; unlike ABlog, not the label that has the name of its file."""
    getattr(env, "ablog_posts", {}).pop(docname, None)
    getattr(env, "pages_showing_posts", set()).discard(docname)


def merge(
    app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment
) -> None:
    """Take over what a parallel process read, without which ABlog is not safe for `-j`."""
    read = getattr(other, "ablog_posts", {})
    mine = env.__dict__.setdefault("ablog_posts", {})
    for docname in docnames:
        if docname in read:
            mine[docname] = read[docname]
        if docname in getattr(other, "pages_showing_posts", ()):
            shows_posts(env, docname)


def start(app: Sphinx) -> None:
    """Drop the posts of an earlier build in the same process: ABlog keeps them in its class."""
    Blog._dict.clear()


def place(post: Post | None) -> tuple[int, ...]:
    """The place in its series as numbers, so that 1.10 comes after 1.9."""
    return tuple(map(int, re.findall(r"\d+", (post and post.part) or "")))


def register(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Make ABlog know all posts before any reference is resolved.

    Returns:
        The pages that show posts, if anything that they show has changed.
    """
    known = post_front_matter.posts(env)
    # In a fixed order, whatever page was read first.
    env.ablog_posts = {  # type: ignore[attr-defined]
        name: infos
        for name, infos in sorted(getattr(env, "ablog_posts", {}).items())
        if name in known
    }
    Blog._dict.clear()
    ablog.post.register_posts(app)
    blog = Blog(app)
    for post in blog.posts:
        # What ABlog sorts by. Posts of one day: by their place in the series, then by title.
        order = (post.date, place(known[post.docname]), post.title, post.docname)
        post._computed_date = order
    for collection in all_collections(blog):
        collection._posts_iter = None  # the order of before
    # `blog/index.html` instead of `blog.html` beside a folder `blog`, and so for all of them: an
    # address cut off at any slash is a page.
    del blog.references["blog-drafts"]
    blog.references.update(
        {
            label: (f"{docname}/index", name)
            for label, (docname, name) in blog.references.items()
            if not docname.endswith(".xml")
        }
    )
    for catalog in all_catalogs(blog):
        catalog.docname += "/index"
    for collection in all_collections(blog):
        collection._path = collection.docname + "/index"
    return changed_lists(env, blog)


def all_catalogs(blog: Any) -> list[Any]:
    """Tags, categories, authors, years and the rest."""
    return [blog.archive, *blog.catalogs.values()]


def all_collections(blog: Any) -> list[Any]:
    """Everything that becomes a list of posts."""
    return [blog.posts] + [coll for catalog in all_catalogs(blog) for coll in catalog]


def changed_lists(env: BuildEnvironment, blog: Any) -> list[str]:
    """The pages that show posts, if a post came, went or says something else of itself."""
    known = post_front_matter.posts(env)
    shown = json.dumps(
        [(p.docname, p.title, {**vars(known[p.docname]), "lines": 0}) for p in blog.posts],
        default=str,
    )
    if shown == getattr(env, "posts_as_shown", None):
        return []
    env.posts_as_shown = shown  # type: ignore[attr-defined]
    return sorted(getattr(env, "pages_showing_posts", set()) & set(env.all_docs))


def no_list_in_print(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Leave `{postlist}` out where ABlog has no page to link to: it would crash the builder."""
    if app.builder.format == "html":
        ablog.post.process_postlist(app, doctree, docname)
        return
    for node in list(doctree.findall(ablog.post.PostList)):
        node.parent.remove(node)


def archive_pages(app: Sphinx) -> Iterator[Page]:
    """ABlog's collection pages, without the drafts, which are no part of the build."""
    blog = Blog(app)
    written = set()
    for pagename, context, template in ablog.post.generate_archive_pages(app):
        if pagename == blog.drafts.docname or pagename in app.env.found_docs:
            continue
        index = blog.posts.docname
        if pagename == index:
            context["title"] = blog.blog_title
        else:
            if pagename == blog.archive.docname:
                context["title"] = "Posts by year"
            uri = app.builder.get_relative_uri(pagename, index)
            context["parents"] = [{"link": uri, "title": blog.blog_title}]
        said = f"{context['title']}: {blog.blog_title}" if pagename != index else blog.blog_title
        said = f"{said}. All posts with their dates and a line on what each says."
        meta = f'<meta name="description" content="{escape(said)}" />'
        context["metatags"] = "\n".join(filter(None, [context.get("metatags"), meta]))
        written.add(pagename)
        yield pagename, context, template
    remove_stale(app, blog, written)


def remove_stale(app: Sphinx, blog: Any, written: set[str]) -> None:
    """Delete the pages of tags, categories, authors and years that no post has any more."""
    output_path = getattr(app.builder, "get_output_path", None)
    if output_path is None:
        return
    keep = {output_path(name) for name in written | app.env.found_docs}
    for catalog in all_catalogs(blog):
        for page in (Path(app.outdir) / catalog.path).glob("*/index.html"):
            if page not in keep:
                page.unlink()


def page_context(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the templates what ABlog does not: dates in the site's language, the checked values."""
    language = app.config.language or "en"
    context["post_date"] = lambda day: format_date(day, "long", locale=language)
    context["post_values"] = post_front_matter.checked(app.env).posts


def replace_listener(
    app: Sphinx, event: str, old: Callable[..., Any], new: Callable[..., Any]
) -> None:
    """Connect `new` in the place of ABlog's `old`."""
    for listener in list(app.events.listeners[event]):
        if listener.handler is old:
            app.disconnect(listener.id)
    app.connect(event, new)


def setup(app: Sphinx) -> dict[str, Any]:
    """Put the mended functions in the place of ABlog's and declare it safe for parallel reading."""
    app.setup_extension("ablog")
    app.setup_extension("post_front_matter")
    replace_listener(app, "doctree-read", ablog.post.process_posts, read_post)
    replace_listener(app, "env-purge-doc", ablog.post.purge_posts, purge)
    replace_listener(app, "doctree-resolved", ablog.post.process_postlist, no_list_in_print)
    replace_listener(app, "html-collect-pages", ablog.post.generate_archive_pages, archive_pages)
    app.connect("builder-inited", start)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", register)
    app.connect("html-page-context", page_context)
    # What is not due is not in the build (see `held_back`): ABlog's own idea of tomorrow, taken
    # from the clock in the machine's zone, must not hold anything back a second time.
    ablog.blog.TOMORROW = ablog.blog.FUTURE
    app.extensions["ablog"].parallel_read_safe = True
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
