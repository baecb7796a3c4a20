"""SVG figures stand in the page itself, so that they follow light and dark.

An author writes `{figure}` or `{image}` with an SVG file and `:alt:`, or draws in a cell. In HTML a
reader gets the drawing inside the page: black becomes the color of the text, the alternative text
becomes the drawing's name for screen readers, and it is never wider than the column. Ids are made
unique, and what no reader sees (metadata, editors' notes, far decimals) is left out.

A drawing heavier than a few lines of text would keep the reader of the first lines waiting. It
stays outside the page, as two files of which a browser fetches one, light or dark, when it comes
near. Bitmaps, too, come when they are near. All get a width and a height, so that nothing moves.

An image without alternative text is a warning with its file and line, and so is a file that is not
SVG. All other formats, EPUB among them, get the files as they are.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import zlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import lxml.etree
from docutils import nodes
from sphinx.util import logging
from sphinx.util.images import get_image_size

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata
    from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"
BLACK = re.compile(r"#000(?:000)?(?![0-9a-fA-F])|\bblack\b|rgb\(\s*0%?\s*,\s*0%?\s*,\s*0%?\s*\)")
PAINTS = ("fill", "stroke", "color", "stop-color")
# In a mask black means "hidden", whatever the colors of the page.
MASKS = ("mask", "filter")
UNSEEN = ("metadata", "title", "desc", "script")
HEAVY = 1_000  # bytes, compressed: what a drawing may add to a page
# The theme's color of text and the page's font, which a file cannot ask the page for.
INKS = {"light": "#222832", "dark": "#ced6dd"}
FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans",Arial,sans-serif'
LONG = re.compile(r"-?\d+\.\d{2,}(?![\d.]*e)")  # numbers with more decimals than can be seen
REFERENCE = re.compile(r"url\((['\"]?)#([^)'\"]+)\1\)")


class NotSvg(ValueError):
    """A file that cannot be read as SVG."""


def prepare(source: bytes, name: str, label: str) -> Any:
    """The drawing as an element for a page.

    Args:
        source: what the file holds.
        name: begins every id in it, and so keeps ids unique on a page.
        label: the alternative text.

    Raises:
        NotSvg: the file is not well-formed, or its root is not `svg`.
    """
    parser = lxml.etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = lxml.etree.fromstring(source, parser)
    except lxml.etree.XMLSyntaxError as error:
        raise NotSvg(str(error)) from error
    if root.tag != f"{{{SVG}}}svg":
        raise NotSvg(f"its root is {root.tag}")
    _drop_unseen(root)
    _lift_style_sheets(root, name)
    for element in root.iter(f"{{{SVG}}}*"):
        _tidy_attributes(element)
    _recolor(root)
    _rename_ids(root, name)
    _unwrap_groups(root)
    _share_styles(root)
    _set_size(root)
    root.set("fill", root.get("fill", "currentColor"))  # what has no color of its own is black
    root.set("role", "img")
    root.set("aria-label", label)
    return root


def to_html(root: Any) -> str:
    """The element as text; HTML needs no namespaces."""
    text = lxml.etree.tostring(root, encoding="unicode", with_tail=False)
    return re.sub(r'\s+xmlns(?::\w+)?="[^"]*"', "", text)


def _drop_unseen(root: Any) -> None:
    for element in list(root.iter()):
        own = isinstance(element.tag, str) and element.tag.startswith(f"{{{SVG}}}")
        if not own or lxml.etree.QName(element).localname in UNSEEN:
            _remove(element)
        elif not _has_text(element):
            element.text = None
            for child in element:
                child.tail = None


def _has_text(element: Any) -> bool:
    names = {"text", "tspan", "textPath", "style", "a"}
    return any(
        lxml.etree.QName(place).localname in names
        for place in (element, *element.iterancestors())
        if isinstance(place.tag, str)
    ) or any(True for _ in element.iterancestors(f"{{{SVG}}}foreignObject"))


def _remove(element: Any) -> None:
    parent = element.getparent()
    if parent is None:
        return
    if element.tail and _has_text(parent):  # the words behind an element are its parent's
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + element.tail
        else:
            before.tail = (before.tail or "") + element.tail
    parent.remove(element)


def _lift_style_sheets(root: Any, name: str) -> None:
    """A style sheet in a page would reach the whole page: keep each inside its drawing."""
    for sheet in list(root.iter(f"{{{SVG}}}style")):
        rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", sheet.text or ""))
        kept = []
        for selectors, declared in rules:
            if selectors.strip() == "*":  # Matplotlib's, of inherited properties
                root.set("style", f"{declared.strip().rstrip(';')};{root.get('style', '')}")
            else:
                root.set("id", "drawing")
                inside = ",".join(f"#{name}drawing {part.strip()}" for part in selectors.split(","))
                kept.append(f"{inside}{{{_recolored(declared.strip())}}}")
        if kept:
            sheet.text = "".join(kept)
        else:
            _remove(sheet)


def _tidy_attributes(element: Any) -> None:
    for attribute in [name for name in element.attrib if name.startswith("{")]:
        space = lxml.etree.QName(attribute).namespace
        if attribute == f"{{{XLINK}}}href":
            element.set("href", element.attrib.pop(attribute))
        elif space != XML or attribute == f"{{{XML}}}space":
            del element.attrib[attribute]
    if re.fullmatch(r"rotate\(-?0(?:\.0*)?(?: [^)]*)?\)", element.get("transform", "")):
        del element.attrib["transform"]
    if style := element.get("style"):
        declared = [part.split(":", 1) for part in style.split(";") if ":" in part]
        kept = [
            f"{key.strip()}:{value.strip()}"
            for key, value in declared
            # A list that ends in any sans serif means: the font of the page.
            if not (key.strip() == "font-family" and value.strip().endswith("sans-serif"))
        ]
        if kept:
            style = ";".join(kept)
            if "fill:none" in style:  # where only the line is seen, it may carry the opacity itself
                style = re.sub(r"(^|;)opacity:", r"\1stroke-opacity:", style)
            elif "stroke" not in style:
                style = re.sub(r"(^|;)opacity:", r"\1fill-opacity:", style)
            element.set("style", style)
        else:
            del element.attrib["style"]
    for attribute in ("d", "points", "x", "y", "x1", "x2", "y1", "y2", "transform"):
        if (value := element.get(attribute)) and "." in value:
            element.set(attribute, _rounded(value))
        if attribute == "d" and value:
            element.set("d", _shorter_path(element.get("d")))


def _rounded(numbers: str) -> str:
    """A tenth of a point is finer than a line; scales and rotations keep what they have."""
    if re.search(r"scale|matrix|skew", numbers):
        return numbers
    return LONG.sub(_tenths, numbers)


def _tenths(number: re.Match[str]) -> str:
    said = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if said == "-0" else said


def _shorter_path(path: str) -> str:
    """The same path: level and upright lines by one number, and no line back to the start."""
    path = re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(path.split()))
    if not re.fullmatch(r"(?:[ML][\d.-]+ [\d.-]+|z)+", path):
        return path
    short, x, y, start = [], "", "", ""
    steps = re.findall(r"([MLz])([^MLz]*)", path)
    for number, (command, numbers) in enumerate(steps):
        if command == "z":
            short.append("z")
            continue
        to_x, to_y = numbers.split()
        if command == "M":
            start = numbers
            short.append(f"M{numbers}")
        elif numbers == start and steps[number + 1 :] and steps[number + 1][0] == "z":
            pass
        elif to_y == y:  # relative: bars of one width, wherever they stand, read the same
            short.append(f"h{_rounded(f'{float(to_x) - float(x):.3f}')}")
        elif to_x == x:
            short.append(f"v{_rounded(f'{float(to_y) - float(y):.3f}')}")
        else:
            short.append(f"L{numbers}")
        x, y = to_x, to_y  # the numbers as written, so that no error adds up
    return "".join(short)


def _share_styles(root: Any) -> None:
    """Neighbors of one style stand in a group that says it once."""
    for parent in list(root.iter(f"{{{SVG}}}svg", f"{{{SVG}}}g")):
        runs: list[list[Any]] = [[]]
        for child in parent:
            style = child.get("style", "")
            # The opacity of a group is not that of its members, one above the other.
            if not style or child.get("id") or re.search(r"(?:^|;)opacity", style):
                runs.append([])
                continue
            if not runs[-1] or _shared(runs[-1][0]) != _shared(child):
                runs.append([])
            runs[-1].append(child)
        for run in runs:
            if len(run) < 2:
                continue
            group = lxml.etree.Element(f"{{{SVG}}}g", _shared(run[0]), nsmap=root.nsmap)
            parent.insert(parent.index(run[0]), group)
            for child in run:
                for attribute in _shared(child):
                    del child.attrib[attribute]
                group.append(child)


def _shared(element: Any) -> dict[str, str]:
    return {key: element.get(key) for key in ("style", "clip-path") if element.get(key)}


def _recolored(value: str) -> str:
    return BLACK.sub("currentColor", value)


def _recolor(root: Any) -> None:
    for element in root.iter(f"{{{SVG}}}*"):
        if any(True for _ in element.iterancestors(*(f"{{{SVG}}}{tag}" for tag in MASKS))):
            continue
        for attribute in (*PAINTS, "style"):
            if value := element.get(attribute):
                element.set(attribute, _recolored(value))


def _rename_ids(root: Any, name: str) -> None:
    used = set()
    for element in root.iter(f"{{{SVG}}}*"):
        for attribute, value in element.items():
            if attribute == "href" and value.startswith("#"):
                used.add(value[1:])
                element.set(attribute, f"#{name}{value[1:]}")
            elif "url(" in value:
                used.update(found[1] for found in REFERENCE.findall(value))
                element.set(attribute, REFERENCE.sub(rf"url(#{name}\2)", value))
    sheets = "".join(sheet.text or "" for sheet in root.iter(f"{{{SVG}}}style"))
    for element in root.iter(f"{{{SVG}}}*"):
        if (own := element.get("id")) is None:
            continue
        if own in used or f"#{name}{own}" in sheets:
            element.set("id", f"{name}{own}")
        else:
            del element.attrib["id"]


def _unwrap_groups(root: Any) -> None:
    """Groups that say nothing, innermost first."""
    for group in reversed(list(root.iter(f"{{{SVG}}}g", f"{{{SVG}}}defs"))):
        parent = group.getparent()
        if len(group) == 0 and not group.get("id"):
            parent.remove(group)
        elif not group.attrib and group.tag == f"{{{SVG}}}g":
            place = parent.index(group)
            parent[place : place + 1] = list(group)


def _set_size(root: Any) -> None:
    """Both a size and a viewBox, each made from the other where it is missing."""
    size = [re.fullmatch(r"([\d.]+)(px|pt)?", root.get(side, "")) for side in ("width", "height")]
    box = root.get("viewBox", "").replace(",", " ").split()
    if size[0] and size[1]:
        # 96 pixels are 72 points.
        wide, high = (float(side[1]) * (4 / 3 if side[2] == "pt" else 1) for side in size if side)
        if len(box) != 4:
            root.set("viewBox", f"0 0 {wide:g} {high:g}")
    elif len(box) == 4:
        wide, high = float(box[2]), float(box[3])
    else:
        raise NotSvg("it has neither a viewBox nor a width and a height")
    root.set("width", f"{wide:.4g}")
    root.set("height", f"{high:.4g}")


# -- Sphinx ------------------------------------------------------------------------------------


def _visit_image(self: HTML5Translator, node: nodes.image) -> None:
    """Write the drawing itself; anything else the way Sphinx does."""
    path = Path(self.builder.srcdir, node["uri"])
    if self.builder.name != "epub":
        if path.suffix == ".svg" and path.is_file():
            if svg := _drawing(self, node, path):
                self.body.append(svg)
                return
        else:
            _give_size(self, node, path)
    type(self).visit_image(self, node)


def _depart_image(self: HTML5Translator, node: nodes.image) -> None:
    """Nothing is left to write."""


def _drawing(self: HTML5Translator, node: nodes.image, path: Path) -> str:
    source = path.read_bytes()
    seen: dict[str, int] = self.__dict__.setdefault("inline_svg_seen", {})
    name = f"s{hashlib.sha256(source).hexdigest()[:6]}"
    seen_any = bool(seen)
    seen[name] = seen.get(name, 0) + 1
    prefix = f"{name}-" if seen[name] == 1 else f"{name}-{seen[name]}-"
    try:
        root = prepare(source, prefix, node.get("alt", ""))
    except NotSvg as error:
        logger.warning(
            "%s is not an SVG drawing: %s", node["uri"], error, location=node, type="inline_svg"
        )
        return ""
    classes = ["inline-svg", *node.get("classes", [])]
    if "align" in node:
        classes.append(f"align-{node['align']}")
    if "scale" in node:
        for side in ("width", "height"):
            root.set(side, f"{float(root.get(side)) * node['scale'] / 100:.4g}")
    sizes = ";".join(f"{side}:{_css(node[side])}" for side in ("width", "height") if side in node)
    # Where drawings cannot stand in the text (a feed), the file takes this place.
    file = self.builder.images.get(node["uri"], path.name)
    place = posixpath.join(self.builder.imgpath, quote(file))
    alone = _stands_alone(node)
    if alone and len(zlib.compress(to_html(root).encode(), 6)) > HEAVY:
        classes[:1] = ["drawing", "dark-light"]  # the theme: leave this picture as it is
        html = _as_files(self, root, classes, sizes, is_first=not seen_any)
    else:
        root.set("class", " ".join(classes))
        if sizes:
            root.set("style", ";".join([sizes, root.get("style", "")]).rstrip(";"))
        root.set("data-src", place)
        html = to_html(root)
    # On a phone a wide drawing would shrink until nobody could read it: it scrolls in its box.
    return f'<div class="svg-scroll">{html}</div>\n' if alone else html


def _as_files(
    self: HTML5Translator, root: Any, classes: list[str], sizes: str, *, is_first: bool
) -> str:
    """The drawing written beside the page for either mode, and the images that show one of them."""
    words, images = root.get("aria-label"), ""
    folder = Path(self.builder.outdir, self.builder.imagedir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("role", "aria-label"):
        del root.attrib[name]
    root.set("font-family", FONT)
    whole = lxml.etree.tostring(root, encoding="unicode", with_tail=False)
    for mode, ink in INKS.items():
        text = whole.replace("currentColor", ink)
        file = f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{mode}.svg"
        if not (folder / file).is_file():
            # Whole at once: another process may be writing a page with the same drawing.
            begun = folder / f"{file}.{os.getpid()}"
            begun.write_text(text, encoding="utf-8")
            begun.replace(folder / file)
        kept = {
            "class": " ".join([*classes, f"drawing-{mode}"]),
            "src": posixpath.join(self.builder.imgpath, file),
            "alt": words,
            "width": root.get("width"),
            "height": root.get("height"),
            "style": sizes,
            # What is not shown is only fetched at once if nothing says that it may wait.
            "loading": "" if is_first and mode == "light" else "lazy",
        }
        given = [f'{name}="{escape(value)}"' for name, value in kept.items() if value]
        images += f"<img {' '.join(given)}>"
    return images


def _stands_alone(node: nodes.image) -> bool:
    holder = node.parent
    if isinstance(holder, nodes.reference):
        holder = holder.parent
    return not isinstance(holder, nodes.TextElement)


def _css(length: str) -> str:
    return f"{length}px" if length.replace(".", "").isdigit() else length


def _give_size(self: HTML5Translator, node: nodes.image, path: Path) -> None:
    if path.is_file() and not {"width", "height", "scale"} & set(node.attributes):
        size = get_image_size(path)
        if size:
            node["width"], node["height"] = map(str, size)
    first = next(self.document.findall(nodes.image), None)
    if node is not first:
        node.setdefault("loading", "lazy")


def _demand_words(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of images without words, once for each place."""
    places = set()
    for image in doctree.findall(nodes.image):
        if image.get("alt", "").strip():
            continue
        place: Any = image
        while place is not None and place.line is None:
            place = place.parent
        where = (app.env.docname, place.line if place is not None else None)
        if where not in places:
            places.add(where)
            logger.warning(
                "image without alternative text: say with :alt: what it shows",
                location=where,
                type="inline_svg",
            )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the way images are written in HTML, and the check."""
    app.add_node(nodes.image, override=True, html=(_visit_image, _depart_image))
    app.connect("doctree-read", _demand_words)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
