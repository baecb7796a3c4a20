"""What runs cells is loaded with the first page that has any."""

from __future__ import annotations

from pathlib import Path

from tiny_site import TinySite

CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["quick_start", "myst_nb"]
nb_execution_mode = "cache"

def tell(app, error):
    print("loaded:", "sqlalchemy" in sys.modules, "nbclient" in sys.modules)

def setup(app):
    app.connect("build-finished", tell)
"""
CELLS = """---
file_format: mystnb
kernelspec: {name: python3}
---
# Cells

```{code-cell} python
print(6 * 7)
```
"""


def test_a_build_loads_them_only_for_cells(tmp_path):
    site = TinySite("pages", tmp_path)
    site.conf = tmp_path / "conf"
    site.conf.mkdir()
    extensions = str(Path(__file__).parents[1] / "_ext")
    (site.conf / "conf.py").write_text(CONF.format(extensions=extensions), encoding="utf-8")
    for file in [*site.src.rglob("*.md")]:
        file.unlink()
    site.write("index.md", "# Words\n\nNo cell.\n")
    build = site.build()
    assert build.code == 0, build.said
    assert "loaded: False False" in build.said
    site.write("index.md", CELLS)
    build = site.build()
    assert build.code == 0, build.said
    assert "loaded: True True" in build.said
    assert "42" in site.page("index.html")
