"""The sitemap: what a search engine should know of.

Nothing has to be written for it. After an HTML build `sitemap.xml` lists every page that somebody
wrote, and the archive; pages that only list other pages (a tag, a year, the index of words) are not
in it. A post carries the date of its last change. Drafts and posts of the future are not in the
build and so not here. Without `html_baseurl` there are no full addresses and no sitemap.

(The package sphinx-sitemap keeps its list in a second process, which does not outlive a build that
runs notebooks.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from post_front_matter import posts

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write sitemap.xml beside the pages."""
    base = app.config.html_baseurl
    if exception or app.builder.name != "html" or not base:
        return
    changed = {post.docname: post.updated or post.date for post in posts(app.env).values()}
    root = ElementTree.Element("urlset", xmlns=NAMESPACE)
    for docname in sorted({*app.env.all_docs, f"{app.config.blog_path}/index"}):
        url = ElementTree.SubElement(root, "url")
        address = f"{base.rstrip('/')}/{app.builder.get_target_uri(docname)}"
        ElementTree.SubElement(url, "loc").text = address
        if day := changed.get(docname):
            ElementTree.SubElement(url, "lastmod").text = day.isoformat()
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    Path(app.outdir, "sitemap.xml").write_bytes(text + b"\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the sitemap when everything else is done."""
    app.connect("build-finished", write)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
