"""Numbers of what stands on other pages are right after incremental builds, as after fresh ones."""

from __future__ import annotations

import pytest
from tiny_site import SITES, TinySite

CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_parser", "fresh_numbers"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
numfig = True
math_numfig = True
numfig_secnum_depth = 1
"""
FIGURE = """
:::{{figure}} dot.svg
:name: {name}
:alt: A dot.

Dot.
:::

```{{math}}
:label: eq-{name}
1 + 1
```
"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1h7"/></svg>'


@pytest.mark.parametrize("options", [(), ("-j", "2")])
def test_a_page_shows_the_new_numbers_of_another(tmp_path, options):
    site = TinySite("pages", tmp_path)
    for file in [*site.src.rglob("*.md")]:
        file.unlink()
    site.conf = tmp_path / "conf"
    site.conf.mkdir()
    extensions = str(SITES.parents[1] / "_ext")
    (site.conf / "conf.py").write_text(CONF.format(extensions=extensions), encoding="utf-8")
    site.write("dot.svg", DOT)
    toc = "\n".join(["one", "two", *(f"more{n}" for n in range(8))])
    site.write("index.md", f"# Book\n\n```{{toctree}}\n:numbered:\n\n{toc}\n```\n")
    site.write("one.md", "# One\n\nWords.\n" + FIGURE.format(name="late"))
    site.write("two.md", "# Two\n\n{numref}`late` and {eq}`eq-late`.\n")
    for n in range(8):
        site.write(f"more{n}.md", f"# More {n}\n\nWords.\n")
    assert site.build(*options).code == 0
    assert "Fig. 1.1" in site.page("two.html")
    assert "(1.1)" in site.page("two.html")

    untouched = (site.out / "more3.html").stat().st_mtime_ns
    site.edit("one.md", "Words.\n", "Words.\n" + FIGURE.format(name="early"))
    assert site.build(*options).code == 0
    assert "Fig. 1.2" in site.page("two.html")
    assert "(1.2)" in site.page("two.html")
    assert (site.out / "more3.html").stat().st_mtime_ns == untouched
