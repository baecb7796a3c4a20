"""Pages carry what they use: one style sheet, one script, no icon font.

The theme and the extensions bring a dozen style sheets (470 kB, of which pages use a fifth) and as
many scripts (1.7 MB). A reader gets `_static/site.css`, made of all style sheets in their order
without the rules that no page of the site can use, and `_static/book.js`, which does what the
theme's scripts did. Scripts from the project's own `_static` that a page asks for, say a
lab's, stay.

A rule is kept when every class and id that it asks for stands in some page or in one of the
project's scripts. Which words stand in the pages is remembered beside the doctrees, so that after
an edit only the written pages are looked through.

The sheet's address says which sheet it is, so that no browser shows a page with the sheet that it
kept from before. It is known only when all pages are written: pages get that of the last build, and
where the sheet has become another, its address is put into all of them afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)

BUILDERS = ("html", "dirhtml", "singlehtml")  # EPUB has a theme of its own, and no scripts
OWN = Path(__file__).resolve().parents[1] / "_static"
# What the theme brings and no page asks for any more.
UNUSED = (
    "scripts",
    "vendor",
    "styles/*.map",
    "searchtools.js",
    "language_data.js",
    "doctools.js",
    "sphinx_highlight.js",
    "documentation_options.js",
    "design-tabs.js",
    "images/logo_*.svg",
)
VERSION = re.compile(r"(_static/site\.css\?v=)\w+")
WORD = re.compile(r"[A-Za-z_][\w-]*")
NESTED = ("@media", "@supports", "@container", "@layer")
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|url\([^)"\']*\)|[{}]')
# What stands in brackets after these says where else, not what: it is not looked at.
LOOSE = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
NAME = re.compile(r"[.#]((?:[\w-]|\\.)+)")
# Names, signs and spaces in code: most of its elements, and they have the color of the code itself.
PLAIN_CODE = re.compile(r'<span class="(?:n|nn|p|w)">([^<]*)</span>')
KEYFRAMES = re.compile(r"@(?:-webkit-)?keyframes ([\w-]+)\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
# Letters of the icon font, in places for private use: without the font they would be boxes.
ICON = re.compile(
    r"(?<![-\w])content:\s*(?:var\(--pst-icon-[\w-]+\)|[\"'](?:\\[ef][0-9a-f]{3}|[\ue000-\uf8ff])[\"'])"
    r"\s*(?:!important)?;?"
)
# What sets or reads the icon font's own variables.
ICON_VARIABLE = re.compile(r"(?:^|(?<=;))[^;{}]*--_?fa-[^;{}]*(?:;|$)")
VARIABLE = re.compile(r"(?<![\w-])(--[\w-]+)\s*:(?:\"[^\"]*\"|'[^']*'|[^;{}\"'])*(;|(?=\}))")


# -- Style sheets ------------------------------------------------------------------------------


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """The rules of a style sheet: what stands before the braces, and what between them."""
    at = 0
    while found := re.compile(r"[{;}]").search(css, at):
        before = css[at : found.start()].strip()
        at = found.end()
        if found[0] == "{":
            depth = 1
            for token in TOKEN.finditer(css, at):
                depth += {"{": 1, "}": -1}.get(token[0], 0)
                if depth == 0:
                    yield before, css[at : token.start()]
                    at = token.end()
                    break
        elif found[0] == ";" and before:
            yield before, None


def reduce(css: str, words: set[str]) -> str:
    """A style sheet without the rules that ask for a class or an id that is not among the words."""
    kept = []
    for before, body in rules(css):
        if body is None:
            if not before.startswith(("@import", "@charset")):
                kept.append(f"{before};")
        elif before.startswith(NESTED):
            if inner := reduce(body, words):
                kept.append(f"{before}{{{inner}}}")
        elif before.startswith("@"):
            if "Font Awesome" not in body.replace("\\", ""):
                kept.append(f"{before}{{{_squeeze(body)}}}")
        else:
            parts = re.split(r",(?![^(]*\))", re.sub(r"\s*([>~])\s*", r"\1", before))
            wanted = [part.strip() for part in parts if _can_match(part, words)]
            if wanted and (inner := _squeeze(body)):
                kept.append(f"{','.join(wanted)}{{{inner}}}")
    return "".join(kept)


def _can_match(selector: str, words: set[str]) -> bool:
    plain = re.sub(r"\"[^\"]*\"|'[^']*'", "", LOOSE.sub("", selector))
    return all(name.replace("\\", "") in words for name in NAME.findall(plain))


def _squeeze(body: str) -> str:
    body = ICON.sub("", body)
    # Not the spaces around "+" and "-" of calc(), nor those in a value.
    if "{" not in body:
        body = ICON_VARIABLE.sub("", body)
    body = re.sub(r"\s*([;{}])\s*", r"\1", " ".join(body.split())).replace(": ", ":")
    return (
        re.sub(r"(?<=[ :,(])0\.(?=\d)", ".", body).replace(" !important", "!important").strip("; ")
    )


def drop_variables(css: str, elsewhere: str) -> str:
    """The style sheet without custom properties that neither it nor the pages read."""
    while True:
        unused = {found[1] for found in VARIABLE.finditer(css)}
        unused -= set(re.findall(r"var\(\s*(--[\w-]+)", css + elsewhere))
        less = css
        if unused:
            names = "|".join(sorted(unused))
            less = re.sub(VARIABLE.pattern.replace(r"--[\w-]+", names), "", css)
        less = re.sub(r"(?<=[{}])[^{}@]+\{\s*\}", "", less)
        if less == css:
            return css
        css = less


def drop_keyframes(css: str) -> str:
    """The style sheet without movements that nothing makes."""
    rest = KEYFRAMES.sub("", css)
    return KEYFRAMES.sub(lambda found: found[0] if found[1] in rest else "", css)


def combine(sheets: list[Path], words: set[str], variables: str) -> str:
    """All style sheets as one, which lies beside the folders they may lie in."""
    whole = []
    for sheet in sheets:
        css = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        css = reduce(css, words)
        # Addresses are relative to the sheet; sheets in a folder reach up with "../".
        if sheet.parent.name == "styles":
            css = re.sub(r"url\((['\"]?)\.\./", r"url(\1", css)
        whole.append(css)
    return drop_variables(drop_keyframes("".join(whole)), variables)


# -- Sphinx ------------------------------------------------------------------------------------


def _sheets(app: Sphinx) -> list[Path]:
    """The style sheets in the order in which a page would load them."""
    static = Path(app.outdir, "_static")
    named = [static / "basic.css", static / "styles" / "pydata-sphinx-theme.css"]
    listed = sorted(app.builder._css_files, key=lambda sheet: sheet.priority)  # type: ignore[attr-defined]
    for sheet in listed:
        path = Path(app.outdir, str(sheet.filename).partition("?")[0])
        if path.is_file() and path not in named:
            named.append(path)
    return [path for path in named if path.is_file()]


@cache
def _version(path: Path) -> str:
    return _digest(path.read_bytes()) if path.is_file() else ""


def _digest(said: bytes) -> str:
    return hashlib.sha256(said).hexdigest()[:8]


def _memory(app: Sphinx) -> Path:
    return Path(app.doctreedir, f"words-{app.builder.name}.json")


def _known(app: Sphinx) -> dict[str, Any]:
    """What the last build has left: words and variables of all pages, and of which sheet."""
    if not hasattr(app, "lean_pages_known"):
        known = {"words": [], "variables": [], "until": 0, "made_of": "", "version": "none"}
        memory = _memory(app)
        if memory.is_file() and Path(app.outdir, "_static", "site.css").is_file():
            known |= json.loads(memory.read_text(encoding="utf-8"))
        app.lean_pages_known = known  # type: ignore[attr-defined]
    found: dict[str, Any] = app.lean_pages_known  # type: ignore[attr-defined]
    return found


def _stamp(page: Path, version: str) -> None:
    """Put the sheet's version into its address; for Sphinx the page is as old as before."""
    text = page.read_text(encoding="utf-8")
    stamped = VERSION.sub(rf"\g<1>{version}", text)
    if stamped != text:
        times = page.stat()
        page.write_text(stamped, encoding="utf-8")
        os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))


def _trim(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take the theme's and the extensions' files out of a page's head."""
    if app.builder.name not in BUILDERS:
        return
    own = {f"_static/{script.name}" for script in OWN.glob("*.js")}
    context["css_files"] = []
    context["script_files"] = [
        script
        for script in context["script_files"]
        if str(getattr(script, "filename", script) or "").partition("?")[0] in own
    ]
    if "body" in context:
        # MyST-NB names the cells that open by something else than what they say.
        named = ' aria-label="Toggle hidden content"'
        context["body"] = PLAIN_CODE.sub(r"\1", context["body"].replace(named, ""))
    context["site_css_version"] = _known(app)["version"]
    context["book_js_version"] = _version(Path(app.outdir, "_static", "book.js"))


def _write_sheet(app: Sphinx, exception: Exception | None) -> None:
    """Look through the pages written by this build and make the style sheet."""
    if exception or app.builder.name not in BUILDERS:
        return
    static = Path(app.outdir, "_static")
    sheet, known = static / "site.css", _known(app)
    words, variables, until = set(known["words"]), set(known["variables"]), known["until"]
    latest = until
    pages = [*Path(app.outdir).rglob("*.html"), *sorted(OWN.glob("*.js"))]
    for page in pages:
        changed = page.stat().st_mtime_ns
        if changed <= until or static in page.parents:
            continue
        latest = max(latest, changed)
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".html":
            for value in re.findall(r'\s(?:class|id)="([^"]*)"', text):
                words.update(value.split())
        else:
            words.update(WORD.findall(text))
        variables.update(re.findall(r"var\(\s*(--[\w-]+)", text))
    if latest == until:
        return
    read = "".join(f"var({name})" for name in sorted(variables))
    sheets = _sheets(app)
    sources = [" ".join(sorted(words)).encode(), read.encode(), Path(__file__).read_bytes()]
    made_of = _digest(b"".join([*sources, *(path.read_bytes() for path in sheets)]))
    version = known["version"]
    if made_of != known["made_of"] or not sheet.is_file():
        css = combine(sheets, words, read)
        if not sheet.is_file() or sheet.read_text(encoding="utf-8") != css:
            sheet.write_text(css, encoding="utf-8")
        version = _digest(css.encode())
    if version != known["version"]:
        for page in pages:
            if page.suffix == ".html" and static not in page.parents:
                _stamp(page, version)
    now = {"words": sorted(words), "variables": sorted(variables), "until": latest}
    now |= {"made_of": made_of, "version": version}
    _memory(app).write_text(json.dumps(now), encoding="utf-8")
    for pattern in UNUSED:
        for unused in static.glob(pattern):
            if unused.is_dir():
                shutil.rmtree(unused)
            else:
                unused.unlink()
    Path(app.outdir, "searchindex.js").unlink(missing_ok=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Trim every page last, when all others have added their files; make the sheet at the end."""
    app.connect("html-page-context", _trim, priority=900)
    app.connect("build-finished", _write_sheet, priority=700)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
