"""What the file names say: which pages are volumes, which are chapters, and their numbers.

Not an extension but the vocabulary that several of them share. A volume is
``volumes/<number>-<slug>/index``, its chapters are ``volumes/<number>-<slug>/NN-<slug>``; nothing
else has to be declared anywhere, but that a toctree lists them: here the volume's own page does,
in the book whose landing page lists every chapter (the benchmark's) that one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.environment import BuildEnvironment

SERIES_PAGE = "volumes/index"
_VOLUME = re.compile(r"volumes/(?P<number>\d+)-[^/]+/index")
_CHAPTER = re.compile(r"(?P<folder>volumes/\d+-[^/]+)/(?P<number>\d\d)-[^/]+")


@dataclass(frozen=True)
class Part:
    """One toctree of a volume: its caption, if it has one, and its chapters in order."""

    caption: str
    chapters: tuple[str, ...]


def chapter_number(docname: str) -> int | None:
    """The chapter number in a page's file name; None if the page is not a chapter."""
    match = _CHAPTER.fullmatch(docname)
    return int(match["number"]) if match else None


def volume_of(docname: str) -> str | None:
    """The index page of the volume that a page belongs to, or is."""
    if _VOLUME.fullmatch(docname):
        return docname
    match = _CHAPTER.fullmatch(docname)
    return f"{match['folder']}/index" if match else None


def volume_number(volume: str) -> int:
    """The number in the folder's name of a volume's index page."""
    match = _VOLUME.fullmatch(volume)
    assert match
    return int(match["number"])


def volumes(env: BuildEnvironment) -> list[str]:
    """The index pages of all volumes of this build, by number."""
    indexes = (
        name for name in env.all_docs if name.endswith("/index")
    )  # quicker than to match all
    found = (name for name in indexes if _VOLUME.fullmatch(name))
    return sorted(found, key=lambda name: (volume_number(name), name))


def parts(env: BuildEnvironment, volume: str) -> list[Part]:
    """The chapters of a volume in reading order, in the parts that toctrees make.

    The toctrees are those of the volume's page; if it has none, those of the landing page.
    """
    folder = volume.removesuffix("index")
    result: list[Part] = []
    for page in (volume, env.config.root_doc):
        for toctree in env.tocs[page].findall(addnodes.toctree):
            names = (name for _, name in toctree["entries"] if name.startswith(folder))
            chapters = tuple(n for n in names if chapter_number(n) is not None and n in env.titles)
            if chapters:
                result.append(Part(toctree.get("caption") or "", chapters))
        if result:
            break
    return result


def title(env: BuildEnvironment, docname: str) -> str:
    """The title of a page as plain text."""
    return env.titles[docname].astext()
