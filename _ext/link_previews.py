"""What a link to a page looks like in a message: Open Graph tags and a picture of its own.

Nothing has to be written for it. The title and the page's `description` (a post's `summary`, else
its first paragraph) become meta tags. The picture is drawn when the page is written, with fonts
that lie on this machine with matplotlib: where the page belongs, its title, the name of the book.
Pictures are called by what they say, so that a page whose words stay has nothing to draw; they are
kept in `link_previews_cache_path` from build to build.

(The package sphinxext-opengraph imports matplotlib in every build, and describes a page by the
first words that it finds, which are those of its cards.)
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import zlib
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import library
from babel.dates import format_date
from docutils import nodes
from plain_text import address, description, wanted
from post_front_matter import post_of
from walkthrough import Box

if TYPE_CHECKING:
    from PIL import Image, ImageFont
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

FOLDER = "_previews"  # in the site
DESIGN = 2  # counted up when the drawing changes, so that all pictures are drawn again
WIDE, HIGH, EDGE = 1200, 630, 84
GROUND, INK, QUIET, ACCENT = "#14213d", "#ffffff", "#b8c4d9", "#fca311"
BAR = "#3d4f74"
LEVELS = 5  # between the ground and an ink, at the edges of letters
BARS = (0.30, 1.0, 0.52, 0.22, 0.13)  # the next word, as every chapter shows it
MOST = 300  # characters of a description: more is cut off wherever a link is shown


@dataclass(frozen=True)
class Card:
    """The words in a picture."""

    above: str
    title: str
    below: str

    @property
    def name(self) -> str:
        """The name of its file, by what it says."""
        said = "\0".join([str(DESIGN), self.above, self.title, self.below])
        return f"{hashlib.sha256(said.encode()).hexdigest()[:16]}.png"

    @property
    def words(self) -> str:
        """All that can be read in it, for those who do not see it."""
        return " · ".join(filter(None, [self.title, self.above, self.below]))


def card(app: Sphinx, docname: str) -> Card:
    """What the picture of a page says."""
    project, title = app.config.project, library.title(app.env, docname)
    volume, chapter = library.volume_of(docname), library.chapter_number(docname)
    post = post_of(app.env, docname)
    above = ""
    if chapter is not None and volume in app.env.titles:
        above = f"{library.title(app.env, volume)} · Chapter {chapter}"
    elif post:
        day = format_date(post.date, "long", locale=app.config.language or "en")
        above = f"The blog · {day}"
    return Card(above, title, project if title != project else "")


# -- Drawing -----------------------------------------------------------------------------------


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that came with matplotlib, which is not imported for it."""
    from PIL import ImageFont

    spec = importlib.util.find_spec("matplotlib")
    if not spec or not spec.submodule_search_locations:
        raise RuntimeError("the fonts of link previews come with matplotlib: it is not installed")
    folder = Path(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf")
    return ImageFont.truetype(folder / name, size)


def lines(text: str, face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A text in lines that are no wider than they may be; a longer word stays whole."""
    found: list[str] = []
    for word in text.replace(" — ", "\xa0— ").split(" "):  # no line begins with a dash
        if found and face.getlength(f"{found[-1]} {word}") <= width:
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


def fit(title: str) -> tuple[list[str], int]:
    """The lines of a title and the largest size at which they have room."""
    room = WIDE - 2 * EDGE
    for size in range(76, 30, -4):
        face = font("DejaVuSans-Bold.ttf", size)
        said = lines(title, face, room)
        if len(said) * size * 1.25 <= 310 and max(map(face.getlength, said)) <= room:
            return said, size
    return said, size


def palette() -> tuple[list[int], dict[str, int]]:
    """The few colors of all pictures, and for each ink the place of its faintest level."""
    from PIL import ImageColor

    ground = ImageColor.getrgb(GROUND)[:3]
    colors, places = list(ground), {}
    for ink in (INK, QUIET, ACCENT, BAR):
        places[ink] = len(colors) // 3
        full = ImageColor.getrgb(ink)[:3]
        # Letters have edges; of what is only rectangles there is one level.
        for level in range(1, LEVELS + 1) if ink in (INK, QUIET) else [LEVELS]:
            mixed = zip(ground, full, strict=True)
            colors += [round(g + (f - g) * level / LEVELS) for g, f in mixed]
    return colors, places


def draw(words: Card) -> Image.Image:
    """The picture, in few colors from the start: finding them afterwards takes ten times longer."""
    from PIL import Image, ImageDraw

    colors, places = palette()
    picture = Image.new("P", (WIDE, HIGH))
    picture.putpalette(colors)
    pen = ImageDraw.Draw(picture)

    def write(at: tuple[float, float], said: str, face: Any, ink: str, anchor: str = "la") -> None:
        box = ImageDraw.Draw(picture).textbbox(at, said, face, anchor)
        left, top, right, bottom = (int(side) for side in box)
        layer = Image.new("L", (right - left + 2, bottom - top + 2))
        begin = (at[0] - left, at[1] - top)
        ImageDraw.Draw(layer).text(begin, said, fill=255, font=face, anchor=anchor)
        levels = [round(value * LEVELS / 255) for value in range(256)]
        inked = layer.point([level and places[ink] + level - 1 for level in levels])
        picture.paste(inked, (left, top), layer.point([level and 255 for level in levels]))

    pen.rectangle((0, 0, 18, HIGH), fill=places[ACCENT])
    if words.above:
        sizes = (font("DejaVuSans.ttf", points) for points in range(30, 16, -2))
        room = WIDE - 2 * EDGE
        face = next((f for f in sizes if f.getlength(words.above) <= room), None)
        write((EDGE, 78), words.above, face or font("DejaVuSans.ttf", 16), QUIET)
    said, size = fit(words.title)
    for row, line in enumerate(said):
        write((EDGE, 150 + row * size * 1.25), line, font("DejaVuSans-Bold.ttf", size), INK)
    foot = HIGH - 84
    write((EDGE, foot), words.below, font("DejaVuSans.ttf", 32), QUIET, "ls")
    for number, part in enumerate(BARS):
        left = WIDE - EDGE - 40 * (len(BARS) - number)
        fill = places[ACCENT if part == max(BARS) else BAR]
        pen.rectangle((left, foot - 90 * part, left + 27, foot), fill=fill)
    return picture


def store(words: Card, folder: Path) -> Path:
    """The file of the picture; drawn if no build has done so."""
    file = folder / words.name
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes may draw the same: each writes its own file and moves it into place.
        begun = file.with_suffix(f".{os.getpid()}")
        # Runs of equal points are all that there is to find: twice as fast, and hardly larger.
        draw(words).save(begun, format="PNG", compress_type=zlib.Z_RLE)
        begun.replace(file)
    return file


# -- Sphinx ------------------------------------------------------------------------------------


def _kept(app: Sphinx) -> Path:
    path = app.config.link_previews_cache_path
    return Path(path) if path else Path(app.doctreedir).parent / ".preview_cache"


def summary(app: Sphinx, docname: str, doctree: nodes.document) -> str:
    """What a page says of itself; else its first paragraph, without what others say of it."""
    if said := description(app, docname):
        return said
    for paragraph in doctree.findall(nodes.paragraph):
        place: Any = paragraph
        while place is not None and not isinstance(place, Box):
            place = place.parent
        if place is None and not paragraph["classes"] and (said := paragraph.astext()):
            said = " ".join(said.split())
            return said if len(said) <= MOST else said[:MOST].rsplit(" ", 1)[0] + " …"
    return ""


def announce(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Draw the picture of a page that somebody wrote, and put the tags into its head."""
    if doctree is None or not wanted(app) or pagename not in app.env.all_docs:
        return
    words, post = card(app, pagename), post_of(app.env, pagename)
    tags = {
        "og:title": words.title,
        "og:type": "article" if post else "website",
        "og:site_name": app.config.project,
        "og:description": (said := summary(app, pagename, doctree)),
    }
    if post:
        tags["article:published_time"] = post.date.isoformat()
        tags["article:modified_time"] = post.updated.isoformat() if post.updated else ""
    if app.config.html_baseurl:
        file = store(words, _kept(app))
        target = Path(app.outdir, FOLDER, file.name)
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)  # neither is ever written to again
            except OSError:  # on another disk, or one without links
                shutil.copyfile(file, target)
        tags |= {
            "og:url": address(app, app.builder.get_target_uri(pagename)),
            "og:image": address(app, f"{FOLDER}/{file.name}"),
            "og:image:width": str(WIDE),
            "og:image:height": str(HIGH),
            "og:image:alt": words.words,
        }
    made = [f'<meta property="{k}" content="{escape(v)}" />' for k, v in tags.items() if v]
    named = {"description": said, "twitter:card": "summary_large_image"}
    made += [f'<meta name="{k}" content="{escape(v)}" />' for k, v in named.items() if v]
    context["metatags"] = "\n".join([context.get("metatags") or "", *made])


def remove_old(app: Sphinx, exception: Exception | None) -> None:
    """Take away the pictures that no page shows any more."""
    if exception or not wanted(app):
        return
    shown = {card(app, docname).name for docname in app.env.all_docs}
    for file in Path(app.outdir, FOLDER).glob("*"):
        if file.name not in shown:
            file.unlink()


def setup(app: Sphinx) -> ExtensionMetadata:
    """Draw and announce with each page."""
    app.setup_extension("plain_text")
    app.setup_extension("walkthrough")
    app.add_config_value("link_previews_cache_path", None, "", types=frozenset({str, type(None)}))
    app.connect("html-page-context", announce)
    app.connect("build-finished", remove_old)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
