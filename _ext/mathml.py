r"""Mathematics laid out at build time: a reader gets MathML, and no script runs on the page.

What an author writes is what Sphinx and MyST offer everywhere: `$x$`, `$$ … $$`, `{math}` with
`:label:`, and `{eq}`. In `conf.py`::

    html_math_renderer = "mathml"
    mathml_macros = {r"\softmax": r"\operatorname{softmax}"}
    mathml_cache_path = "_build/.math_cache"

A formula that cannot be laid out is a warning with its file and line. HTML and EPUB get MathML, in
EPUB with a text beside it for devices that cannot show it; LaTeX gets what the author wrote.

Temml (`_ext/temml/`) does the layout in V8, which comes as a wheel: the author needs no Node. It
runs in a process of its own, started with the first formula that no earlier build has laid out: a
fork of a process with V8's threads in it would hang, and a build whose formulae are all known pays
nothing. It is asked for all formulae of a page at once. They are kept in one SQLite file, by their
text, Temml itself and the macros; any number of processes may write it at once.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lxml.etree
from docutils import nodes
from mathtext import mathml_to_text, tidy
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.util.typing import ExtensionMetadata
    from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

TEMML = Path(__file__).parent / "temml" / "temml.min.js"
FORM = "1:"  # counts what is done to Temml's answers here, so that no old answer is used
NAMESPACE = "http://www.w3.org/1998/Math/MathML"


# A caught error comes back as an answer with Temml's own words, which say where it stopped.
LAY_OUT = """
function layOut({formulae, macros}) {
  return JSON.stringify(formulae.map(([tex, display]) => {
    try {
      // A copy: a formula that defines a macro defines it for itself alone.
      const options = {
        displayMode: display, macros: {...macros}, throwOnError: true, wrap: "tex"
      };
      return {ok: temml.renderToString(tex, options)};
    } catch (error) {
      return {bad: String(error.message || error)};
    }
  }));
}
"""

OPENING = set("([{⟨⌊⌈⟮|‖∣∥")
UPRIGHT = set("|‖∣∥")
LARGE = set("∑∏∐∫∬∭∮⋃⋂⨁⨂")
TALL = {"mfrac", "munder", "mover", "munderover", "mtable", "msqrt", "mroot", "mpadded"}
# Between these TeX leaves no space in subscripts, superscripts and limits.
TIGHT = set("=≠<>≤≥≈≡∼≔+−±×·⋅∗∈∉∣|→←↦⇒∪∩,;:…‖∥⊤")


# TeX, and whether it stands on lines of its own.
Formula = tuple[str, bool]
AT_ONCE = 500  # in one question to the database


class MathError(ValueError):
    """A formula that Temml does not accept."""


@cache
def _temml_digest() -> str:
    return FORM + hashlib.sha256(TEMML.read_bytes()).hexdigest()[:16]


# -- Laying out --------------------------------------------------------------------------------


def serve() -> None:
    """Lay out formulae: requests as lines of JSON on standard input, answers on standard output."""
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval(TEMML.read_text(encoding="utf-8") + ";0")
    engine.eval(LAY_OUT + ";0")
    for line in sys.stdin:
        print(engine.eval(f"layOut({line})"), flush=True)


@dataclass
class Renderer:
    """Lays out formulae, each only once."""

    macros: dict[str, str] = field(default_factory=dict)
    cache_path: Path | None = None
    _at_hand: dict[Formula, str] = field(default_factory=dict)
    _owner: int = 0
    _database: sqlite3.Connection | None = None
    _worker: subprocess.Popen[str] | None = None

    def __call__(self, tex: str, display: bool = False) -> str:
        """MathML of a formula.

        Raises:
            MathError: Temml does not accept it.
        """
        if (tex, display) in self._at_hand:
            return self._at_hand[tex, display]
        answer = self._find([(tex, display)])[tex, display]
        if isinstance(answer, MathError):
            raise answer
        return answer

    def prepare(self, formulae: Iterable[Formula]) -> None:
        """Find or lay out all formulae of a page at once; those of another page are put away."""
        found = self._find(list(dict.fromkeys(formulae)))
        self._at_hand = {each: mathml for each, mathml in found.items() if isinstance(mathml, str)}

    def _find(self, formulae: list[Formula]) -> dict[Formula, str | MathError]:
        if self._owner != os.getpid():  # after a fork: neither belongs to this process
            self._owner, self._database, self._worker = os.getpid(), None, None
        table = self._table()
        keys = {self._key(each): each for each in formulae}
        found: dict[Formula, str | MathError] = {}
        asked = list(keys)
        for first in range(0, len(asked), AT_ONCE):
            some = asked[first : first + AT_ONCE]
            marks = ", ".join("?" * len(some))
            held = table.execute(f"SELECT key, mathml FROM formulae WHERE key IN ({marks})", some)
            found |= {keys[key]: mathml for key, mathml in held}
        new = {key: each for key, each in keys.items() if each not in found}
        if new:
            answers = zip(new, self._lay_out(list(new.values())), strict=True)
            made = {key: MathError(said) if bad else _refine(said) for key, (said, bad) in answers}
            rows = [(key, mathml) for key, mathml in made.items() if isinstance(mathml, str)]
            with table:  # one transaction
                table.execute("BEGIN IMMEDIATE")
                table.executemany("INSERT OR IGNORE INTO formulae VALUES (?, ?)", rows)
            found |= {new[key]: mathml for key, mathml in made.items()}
        return found

    def _key(self, formula: Formula) -> bytes:
        tex, display = formula
        parts = [_temml_digest(), self.macros, display, tex]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()

    def _table(self) -> sqlite3.Connection:
        if self._database is None:
            if self.cache_path:
                self.cache_path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = self._connect()
            except sqlite3.DatabaseError:  # cut off by a full disk, or another program's file
                cast("Path", self.cache_path).unlink()
                self._database = self._connect()
        return self._database

    def _connect(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.cache_path or ":memory:", timeout=60, isolation_level=None)
        # It is only a cache: after a power cut it may be gone, but no page waits for the disk.
        base.execute("PRAGMA synchronous = OFF")
        # One behind the other as they come: in the order of their keys each would change a block.
        base.execute("CREATE TABLE IF NOT EXISTS formulae (key BLOB PRIMARY KEY, mathml TEXT)")
        return base

    def _lay_out(self, formulae: list[Formula]) -> list[tuple[str, bool]]:
        """What Temml answers to each: MathML, or what is wrong and True."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, str(Path(__file__)), "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            atexit.register(self._worker.kill)
        assert self._worker.stdin
        assert self._worker.stdout
        # Escapes keep line separators of Unicode, which end a line in older JavaScript, out of it.
        self._worker.stdin.write(json.dumps({"formulae": formulae, "macros": self.macros}))
        self._worker.stdin.write("\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that lays out formulae ended at {formulae!r}")
        return [
            (re.sub(r"^ParseError:\s*", "", answer["bad"]).replace("\n", " ").strip(), True)
            if "bad" in answer
            else (answer["ok"], False)
            for answer in json.loads(line)
        ]


def _refine(mathml: str) -> str:
    """Set spaces where TeX does and browsers do not; leave out what the style sheet says once."""
    math = lxml.etree.fromstring(mathml.encode())
    for sign in math.iter("mo"):
        said = sign.text or ""
        if "minsize" in sign.attrib and "form" not in sign.attrib:  # \bigl( and its like
            sign.set("form", "prefix" if said in OPENING else "postfix")
            if said in UPRIGHT:
                _space(sign, "0em", "0em")
            # Chromium puts the room of the largest bracket around a stretched small one.
            if sign.get("minsize") == "1.2em":
                del sign.attrib["minsize"], sign.attrib["maxsize"]
                sign.attrib["stretchy"], sign.attrib["mathsize"] = "false", "1.2em"
        elif said == "…":
            _space(sign, "0em", "0.1667em")
        elif said and said in "⊙⊕⊗":  # Firefox would take the size of a sum's sign
            sign.set("largeop", "false")
        elif said == "\u2061":  # Firefox sets a space of its own here
            after = sign.getnext()
            if after is not None and after.tag == "mspace":
                sign.getparent().remove(sign)
            else:
                _space(sign, "0em", "0em")
    for group in math.iter("mrow"):  # \left( x \right): the same room around brackets
        if len(group) and group[0].tag == group[-1].tag == "mo" and not _is_tall(group):
            for sign in (group[0], group[-1]):
                if sign.get("form") in ("prefix", "postfix"):
                    sign.set("stretchy", "false")
    for script in math.iter("msub", "msup", "msubsup", "munder", "mover", "munderover"):
        for part in script[1:]:
            for sign in part.iter("mo"):
                if "lspace" not in sign.attrib and "form" not in sign.attrib and sign.text in TIGHT:
                    _space(sign, "0em", "0em")
    for element in math.iter():
        element.attrib.pop("fence", None)
    if math.get("class") == "tml-display":
        del math.attrib["class"], math.attrib["style"]
    return str(lxml.etree.tostring(math, encoding="unicode"))


def _is_tall(group: Any) -> bool:
    return any(part.tag in TALL or (part.text or " ") in LARGE for part in group.iter())


def _space(sign: Any, before: str, after: str) -> None:
    sign.set("lspace", before)
    sign.set("rspace", after)


# The renderer of the running build; before one runs, a plain one without a file.
_renderer = Renderer()


def to_text(tex: str) -> str:
    r"""A formula as a line of readable text: `\frac{a}{b} \le \sqrt{2}` is "a/b ≤ √2"."""
    return _as_text(_renderer(tex))


def _as_text(mathml: str) -> str:
    said = tidy(mathml_to_text(lxml.etree.fromstring(mathml.encode())))
    return unicodedata.normalize("NFC", said)  # "ŷ" as one character, as one types it


# -- Sphinx ------------------------------------------------------------------------------------


def _formula(node: nodes.Element) -> Formula:
    """What Temml is given for a formula."""
    tex = node.astext()
    if not isinstance(node, nodes.math_block):
        return tex, False
    return (_unnumbered(tex) if _is_whole(node) else _wrapped(tex)), True


def _is_whole(node: nodes.Element) -> bool:
    return bool(node.get("no-wrap", node.get("nowrap", False)))


def _visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(self, node))
    raise nodes.SkipNode


def _visit_display(self: HTML5Translator, node: nodes.math_block) -> None:
    if _is_whole(node) and node.get("number"):
        # MyST gives it an address drawn by lot: no reader could cite it, no two builds would agree.
        logger.warning(
            "numbered environment outside {math}: give it a {math} with a :label:, or a star",
            location=node,
            type="mathml",
        )
    # The formula scrolls in its own box on a narrow screen; its number stays in sight beside it.
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    self.body.append(f'<div class="math-scroll">{_mathml(self, node)}</div>')
    if node.get("number"):
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def _wrapped(tex: str) -> str:
    """What Sphinx makes of lines that are not in an environment: blank lines part equations."""
    parts = [part.strip() for part in tex.split("\n\n") if part.strip()]
    parts = [rf"\begin{{split}}{part}\end{{split}}" if _has_rows(part) else part for part in parts]
    if len(parts) == 1:
        return parts[0]
    return r"\begin{aligned}" + r"\\".join(parts) + r"\end{aligned}"


def _has_rows(tex: str) -> bool:
    """Whether rows are parted outside every environment, which alone may hold them."""
    return r"\\" in re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", "", tex, flags=re.DOTALL)


def _unnumbered(tex: str) -> str:
    """An environment whose number Sphinx counts, not Temml."""
    return re.sub(r"\\(begin|end)\{(equation|align|alignat|gather|multline)\}", r"\\\1{\2*}", tex)


def _mathml(translator: HTML5Translator, node: nodes.Element) -> str:
    if not translator.__dict__.get("has_prepared_formulae"):
        page = translator.document.findall(lambda n: isinstance(n, (nodes.math, nodes.math_block)))
        _renderer.prepare(map(_formula, page))
        translator.has_prepared_formulae = True
    tex, display = _formula(node)
    try:
        mathml = _renderer(tex, display)
    except MathError as error:
        logger.warning("formula not understood: %s", error, location=node, type="mathml")
        return f"<code>{translator.encode(tex)}</code>"
    if translator.builder.name == "epub":
        said = translator.attval(_as_text(mathml))
        return mathml.replace("<math", f'<math xmlns="{NAMESPACE}" alttext="{said}"', 1)
    return mathml


def _configure(app: Sphinx, config: Config) -> None:
    path = config.mathml_cache_path or Path(app.doctreedir).parent / ".math_cache"
    global _renderer
    _renderer = Renderer(dict(config.mathml_macros), Path(path))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer and its settings."""
    inline: Any = (_visit_inline, None)
    display: Any = (_visit_display, None)
    app.add_html_math_renderer("mathml", inline, display)
    app.add_config_value("mathml_macros", {}, "html", types=frozenset({dict}))
    app.add_config_value("mathml_cache_path", None, "", types=frozenset({str, type(None)}))
    # Pages are written again when Temml changes.
    app.add_config_value("mathml_temml", _temml_digest(), "html", types=frozenset({str}))
    app.connect("config-inited", _configure)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    serve()
