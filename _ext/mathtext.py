"""Turn MathML into readable text: "P(w_t | w_1, …, w_(t−1)) = 0.25".

Not an extension: what places without mathematics need, such as the entries of a feed.
"""

from __future__ import annotations

import re
from typing import Any

import lxml.etree

# Said by position, not by a character that is read.
INVISIBLE = dict.fromkeys(map(ord, "\u2062\u2063\u2064\u200b"))
APPLIED = "\u2061"  # between a function's name and what it is of: "log P", but "log(P)"
WIDE = set("=≠<>≤≥≈≡∼∝→←⇒∈∉⊂⊆+−±×·÷∣∥|∧∨∪∩:≔")
LARGE = set("∑∏∫∮⋃⋂")
SKIPPED = {"annotation", "annotation-xml", "mphantom", "none", "mprescripts"}


def _group(text: str) -> str:
    """Brackets around what would fall apart on one line."""
    return text if re.fullmatch(r"\w*[′']?|\(.*\)|[\d.,]+", text) else f"({text})"


def mathml_to_text(element: Any) -> str:
    """One line of text for a MathML element; what has no rule is read from left to right."""
    if not isinstance(element.tag, str):
        return ""
    tag = lxml.etree.QName(element).localname
    if tag in SKIPPED:
        return ""
    if tag in ("mi", "mn", "mo", "mtext", "ms"):
        said = "".join(element.itertext()).translate(INVISIBLE)
        if tag == "mtext":
            return said.replace("\xa0", " ")
        said = said.strip()
        if tag == "mo" and said in WIDE and element.get("form") != "prefix":
            return f" {said} "
        return {",": ", ", ";": "; "}.get(said, said)
    if tag == "mspace":
        return " " if element.get("width", "").strip("-0.") not in ("", "em", "px") else ""
    parts = [mathml_to_text(child) for child in element if isinstance(child.tag, str)]
    after = APPLIED if parts and parts[0].strip() in LARGE else ""
    if tag == "mfrac" and len(parts) == 2:
        return f"{_group(parts[0].strip())}/{_group(parts[1].strip())}"
    if tag == "msqrt":
        return f"√{_group(''.join(parts).strip())}"
    if tag == "mroot" and len(parts) == 2:
        return f"root_{_group(parts[1].strip())}({parts[0].strip()})"
    if tag in ("msub", "munder") and len(parts) == 2:
        return f"{parts[0].strip()}_{_group(parts[1].strip())}{after}"
    if tag in ("msup", "mover") and len(parts) == 2:
        return _raised(parts[0].strip(), parts[1].strip())
    if tag in ("msubsup", "munderover") and len(parts) == 3:
        low = f"{parts[0].strip()}_{_group(parts[1].strip())}"
        return _raised(low, parts[2].strip()) + after
    if tag == "mtable":
        return "; ".join(part.strip() for part in parts if part.strip())
    if tag == "mtr":
        return "  ".join(part.strip() for part in parts if part.strip())
    if tag == "semantics":
        return parts[0] if parts else ""
    return "".join(parts)


ACCENTS = {"^": "\u0302", "¯": "\u0304", "‾": "\u0304", "~": "\u0303", "˜": "\u0303", "→": "\u20d7"}
ACCENTS |= {"ˆ": "\u0302", "˙": "\u0307", "¨": "\u0308"}


def _raised(base: str, top: str) -> str:
    if top in ACCENTS and len(base) == 1:
        return base + ACCENTS[top]
    if top in ("′", "″", "‴", "⊤", "*", "∗", "†"):
        return base + top
    return f"{base}^{_group(top)}"


def tidy(text: str) -> str:
    """Single spaces, none inside brackets."""
    text = re.sub(rf"{APPLIED}\s*([(\[])", r"\1", text).replace(APPLIED, " ")
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"([(\[{]) | ([)\]},;])", r"\1\2", text)


def replace_math(root: Any) -> None:
    """Put text in the place of every formula below `root`, an lxml.html element."""
    for formula in root.xpath(".//*[local-name()='math']"):
        _put(formula, tidy(mathml_to_text(formula)))
    # Formulae that no extension has rendered: TeX between Sphinx's delimiters.
    for formula in root.xpath(".//*[contains(concat(' ', @class, ' '), ' math ')]"):
        if not len(formula) and formula.text:
            formula.text = re.sub(r"^\s*\\[(\[]|\\[)\]]\s*$", "", formula.text).strip()


def _put(formula: Any, said: str) -> None:
    display = formula.get("display") == "block"
    place = formula.makeelement("p" if display else "span")
    place.text = said
    place.tail = formula.tail
    formula.getparent().replace(formula, place)
