"""What RFC 4287 says that an Atom feed MUST be, as a list of what a feed gets wrong.

Numbers in the messages are sections of the RFC. Beside its MUSTs: ids are unique in a feed, a feed
and its entries name their own address, and no address in a text is relative, because a reader would
resolve it against who knows what.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator

import lxml.etree
import lxml.html

NS = "{http://www.w3.org/2005/Atom}"
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+\Z")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")
ONCE = {
    "feed": ("id", "title", "updated"),
    "entry": ("id", "title", "updated"),
    "author": ("name",),
    "contributor": ("name",),
}
AT_MOST_ONCE = {
    "feed": ("generator", "icon", "logo", "rights", "subtitle"),
    "entry": ("content", "published", "rights", "source", "summary"),
    "author": ("uri", "email"),
    "contributor": ("uri", "email"),
}
ALLOWED = {
    "feed": "author category contributor generator icon id link logo rights subtitle title updated "
    "entry",
    "entry": "author category content contributor id link published rights source summary title "
    "updated",
    "author": "name uri email",
    "contributor": "name uri email",
}
TEXTS = ("title", "subtitle", "summary", "rights")


def errors(data: bytes) -> list[str]:
    """Everything that is wrong with a feed."""
    try:
        root = lxml.etree.fromstring(data)
    except lxml.etree.XMLSyntaxError as problem:
        return [f"2: not well-formed: {problem}"]
    if root.tag != f"{NS}feed":
        return [f"4.1.1: the root is {root.tag}, not atom:feed"]
    return list(_feed(root))


def _name(element: lxml.etree._Element) -> str:
    return str(element.tag).removeprefix(NS)


def _feed(feed: lxml.etree._Element) -> Iterator[str]:
    entries = feed.findall(f"{NS}entry")
    for element in feed.iter(f"{NS}*"):
        yield from _element(element)
    if feed.find(f"{NS}author") is None:
        for entry in entries:
            if entry.find(f"{NS}author") is None and entry.find(f"{NS}source/{NS}author") is None:
                yield f"4.1.1: neither the feed nor {entry.findtext(f'{NS}title')!r} has an author"
    if not any(link.get("rel") == "self" for link in feed.findall(f"{NS}link")):
        yield "4.1.1: the feed does not link to itself"
    ids = Counter(element.text for element in feed.iter(f"{NS}id"))
    yield from (f"4.2.6: the id {name} is used {n} times" for name, n in ids.items() if n > 1)


def _element(element: lxml.etree._Element) -> Iterator[str]:
    name = _name(element)
    children = Counter(_name(child) for child in element if isinstance(child.tag, str))
    for child in ONCE.get(name, ()):
        if children[child] != 1:
            yield f"4: {name} has {children[child]} {child} elements instead of one"
    for child in AT_MOST_ONCE.get(name, ()):
        if children[child] > 1:
            yield f"4: {name} has {children[child]} {child} elements"
    if name in ALLOWED:
        for child in children.keys() - set(ALLOWED[name].split()):
            yield f"4: {child} may not stand in {name}"
    if name in TEXTS:
        yield from _text(element, ("text", "html", "xhtml"))
    if name in ("updated", "published"):
        yield from _date(element)
    if name in ("id", "uri", "icon", "logo") and not IRI.match(element.text or ""):
        yield f"4.2: {name} {element.text!r} is not an absolute IRI"
    if name == "name" and not (element.text or "").strip():
        yield "3.2.1: an empty name"
    if name == "email" and not re.match(r".+@.+\Z", element.text or ""):
        yield f"3.2.3: {element.text!r} is not an address"
    if name == "category" and not element.get("term"):
        yield "4.2.2.1: a category without a term"
    if name == "category" and element.get("scheme") and not IRI.match(element.get("scheme", "")):
        yield f"4.2.2.2: the scheme {element.get('scheme')!r} is not an IRI"
    if name == "link":
        yield from _link(element)
    if name in ("feed", "entry"):
        yield from _links(element)
    if name == "content":
        yield from _content(element)


def _text(element: lxml.etree._Element, kinds: tuple[str, ...]) -> Iterator[str]:
    kind = element.get("type", "text")
    if kind not in kinds:
        yield f"3.1.1: {_name(element)} has the type {kind!r}"
    if kind != "xhtml" and len(element):
        yield f"3.1.1: {_name(element)} of type {kind} has elements in it"
    if kind == "xhtml" and [child.tag for child in element] != [
        "{http://www.w3.org/1999/xhtml}div"
    ]:
        yield "3.1.1.3: xhtml must be one div"
    if not (element.text or "").strip() and not len(element):
        yield f"3.1: {_name(element)} is empty"


def _date(element: lxml.etree._Element) -> Iterator[str]:
    said = element.text or ""
    if not DATE.match(said):
        yield f"3.3: {said!r} is not an RFC 3339 date with a zone"
        return
    try:
        dt.datetime.fromisoformat(said)
    except ValueError:
        yield f"3.3: {said!r} is no date of the calendar"


def _link(element: lxml.etree._Element) -> Iterator[str]:
    href, rel = element.get("href", ""), element.get("rel", "alternate")
    if not IRI.match(href):
        yield f"4.2.7.1: the link {href!r} is not an absolute address"
    if not re.match(r"[A-Za-z][\w.-]*\Z", rel) and not IRI.match(rel):
        yield f"4.2.7.2: {rel!r} is no relation"
    if element.get("type") and not MIME.match(element.get("type", "")):
        yield f"4.2.7.3: {element.get('type')!r} is no media type"


def _links(element: lxml.etree._Element) -> Iterator[str]:
    links = element.findall(f"{NS}link")
    pages = [link for link in links if link.get("rel", "alternate") == "alternate"]
    kinds = Counter((link.get("type"), link.get("hreflang")) for link in pages)
    for kind, number in kinds.items():
        if number > 1:
            yield f"4.1: {number} alternate links of the kind {kind} in one {_name(element)}"
    if _name(element) == "entry" and not pages:
        yield f"4.1.2: {element.findtext(f'{NS}title')!r} has no link to its page"


def _content(element: lxml.etree._Element) -> Iterator[str]:
    kind = element.get("type", "text")
    if element.get("src"):
        if not IRI.match(element.get("src", "")) or element.text:
            yield "4.1.3.2: content with src must be empty and src an IRI"
    elif kind in ("text", "html", "xhtml"):
        yield from _text(element, ("text", "html", "xhtml"))
    elif not MIME.match(kind) or kind.startswith(("multipart/", "message/")):
        yield f"4.1.3.1: {kind!r} is no type of content"
    if kind == "html" and element.text:
        body = lxml.html.fragment_fromstring(element.text, create_parent="div")
        for _, attribute, address, _ in body.iterlinks():
            if not IRI.match(address):
                yield f"a relative address in a text: {attribute}={address!r}"
