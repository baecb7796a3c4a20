"""The book as files to take along: a line in each volume, a list where `{downloads}` stands.

What an author writes: ``{downloads}`` in the page that lists the files. In `conf.py`::

    downloads_path = "_build/downloads"

`make pdf` and `make epub` put there what they have built, under the names of `printed_book`. The
next HTML build copies the files into the site and says below the title of each volume, and of the
index post of each series, what there is to download, how large it is and when it was built. A file
that is not there is not spoken of; when one comes, changes or goes, the pages that speak of it are
written again.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import printed_book
from babel.dates import format_date
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

FOLDER = "downloads"  # in the site


@dataclass(frozen=True)
class File:
    """A file that readers can take along."""

    name: str
    kind: str
    size: int
    built: dt.date


class Downloads(nodes.General, nodes.Element):
    """Where the list stands."""


class DownloadsDirective(SphinxDirective):
    """`{downloads}`: all files, each under the title of what it holds."""

    def run(self) -> list[nodes.Node]:
        """Note the place; the files are looked up when the page is written."""
        return [Downloads()]


Found = dict[str, tuple[str, list["File"]]]


def find(app: Sphinx) -> Found:
    """By their first pages: what there are files of, its title and its files."""
    folder = Path(app.srcdir, app.config.downloads_path)
    found = {}
    for docname, stem, title in printed_book.documents(app.env):
        whole = docname == app.config.root_doc
        epub = app.config.epub_basename if whole else stem
        names = [(f"{stem}.pdf", "PDF"), (f"{epub}.epub", "EPUB")]
        files = []
        for name, kind in names:
            path = folder / name
            if path.is_file():
                status = path.stat()
                day = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).date()
                files.append(File(name, kind, status.st_size, day))
        if files:
            found[docname] = (title, files)
    return found


def size(number: int) -> str:
    """A size as people say it: "1.4 MB"."""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{max(1, round(number / 1e3))} kB"


class ShowDownloads(SphinxPostTransform):
    """Put the list in its place, and a line below the titles of what there are files of."""

    default_priority = 6  # after `walkthrough`, whose lines stand above ours

    def run(self, **kwargs: Any) -> None:
        """Only a site has files beside its pages."""
        found: Found = getattr(self.app, "downloads_found", {})
        for place in [*self.document.findall(Downloads)]:
            items = [
                nodes.list_item("", nodes.paragraph("", f"{title}: ", *self.links(files)))
                for title, files in found.values()
            ]
            place.replace_self([nodes.bullet_list("", *items)] if items else [])
        docname = self.env.docname
        # ABlog resolves excerpts in the name of the page that shows them: those are not the page.
        own = self.document.get("source") == str(self.env.doc2path(docname))
        if not own or docname not in found or docname == self.config.root_doc:
            return
        files = found[docname][1]
        title = next(iter(self.document.findall(nodes.title)))
        line = nodes.paragraph(
            "", "Take it along: ", *self.links(files), classes=["downloads", "not-in-feed"]
        )
        title.parent.insert(title.parent.index(title) + 1, line)

    def links(self, files: list[File]) -> list[nodes.Node]:
        """A button for each file: PDF (1.4 MB, November 24, 2026)."""
        said: list[nodes.Node] = []
        here = self.app.builder.get_target_uri(self.env.docname)
        for file in files:
            day = format_date(file.built, "long", locale=self.config.language or "en")
            address = relative_uri(here, f"{FOLDER}/{file.name}")
            text = f"{file.kind} ({size(file.size)}, {day})"
            said += [nodes.Text(" ")] * bool(said)
            said.append(
                nodes.reference("", text, refuri=address, internal=True, classes=["download"])
            )
        return said


def find_changed(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages that speak of files, if these are not those of the last build."""
    if app.builder.name not in ("html", "dirhtml"):
        return []
    found = find(app)
    app.downloads_found = found  # type: ignore[attr-defined]
    now = {docname: files for docname, (_, files) in found.items()}
    before = getattr(env, "downloads", {})
    env.downloads = now  # type: ignore[attr-defined]
    if now == before:
        return []
    return sorted((now.keys() | before.keys() | {app.config.downloads_page}) & env.all_docs.keys())


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put the files into the site, and take away those that are gone."""
    if error or app.builder.name not in ("html", "dirhtml"):
        return
    target = Path(app.outdir, FOLDER)
    names = {file.name for _, files in find(app).values() for file in files}
    for old in target.glob("*"):
        if old.name not in names:
            old.unlink()
    if names:
        target.mkdir(exist_ok=True)
    for name in names:
        source, copied = Path(app.srcdir, app.config.downloads_path, name), target / name
        if not copied.exists() or copied.stat().st_mtime != source.stat().st_mtime:
            shutil.copy2(source, copied)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive, the lines and the copying."""
    app.setup_extension("printed_book")
    app.add_config_value("downloads_path", "_build/downloads", "", types=frozenset({str}))
    app.add_config_value("downloads_page", "download", "", types=frozenset({str}))
    app.add_node(Downloads)
    app.add_directive("downloads", DownloadsDirective)
    app.add_post_transform(ShowDownloads)
    app.connect("env-updated", find_changed, priority=600)  # after `walkthrough` knows the series
    app.connect("build-finished", copy)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
