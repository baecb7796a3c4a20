"""Figures and works are cited as Sphinx and pybtex cite them, also after they have changed."""

from __future__ import annotations

import re

from tiny_site import TinySite

PAGE = """
## Figures

:::{{figure}} dot.svg
:name: first-figure
:alt: A dot.

One.
:::

{more}

See {{numref}}`second-figure`, {{numref}}`first-figure` and {{cite:t}}`cited`.

:::{{figure}} dot.svg
:name: second-figure
:alt: A dot.

Two.
:::
"""
NEW = """:::{figure} dot.svg
:name: new-figure
:alt: A dot.

New.
:::
"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1h7"/></svg>'


CONF = """
__file__ = {conf!r}
exec(open(__file__, encoding="utf-8").read())
bibtex_bibfiles = [{works!r}]
numfig = True
extensions += {more!r}
"""


def test_the_site_is_the_same_also_when_figures_and_works_change(tmp_path):
    made = []
    for name, more in (("plain", []), ("quick", ["quick_references"])):
        site = TinySite("forms", tmp_path / name)
        conf = {"conf": str(site.conf / "conf.py"), "works": str(site.src / "references.bib")}
        site.conf = tmp_path / name / "conf"
        site.conf.mkdir()
        (site.conf / "conf.py").write_text(CONF.format(**conf, more=more), encoding="utf-8")
        site.write("volumes/1-first/dot.svg", DOT)
        chapter = site.src / "volumes" / "1-first" / "02-two.md"
        text = chapter.read_text(encoding="utf-8")
        chapter.write_text(text + PAGE.format(more=""), encoding="utf-8")
        site.write("far.md", "---\norphan: true\n---\n# Far\n\n{numref}`second-figure`\n")
        build = site.build()
        assert build.code == 0, build.said
        made.append(site.files())
        chapter.write_text(text + PAGE.format(more=NEW), encoding="utf-8")
        site.edit("references.bib", "title", "note = {A new note}, title")
        build = site.build()
        assert build.code == 0, build.said
        made.append(site.files())
    assert b"A new note" in made[3]["reference/bibliography.html"]
    chapter = "volumes/1-first/02-two.html"
    numbers = [re.findall(r"std-numref\">(Fig[^<]*)", made[n][chapter].decode()) for n in (2, 3)]
    assert numbers[0] != numbers[1], "a figure more, and the same numbers"
    for plain, quick in ((made[0], made[2]), (made[1], made[3])):
        assert plain.keys() == quick.keys()
        differ = [name for name in plain if plain[name] != quick[name]]
        assert differ in ([], ["searchindex.js"])  # which names the extensions
