"""Cells run when they are new or have changed, and at no other time."""

from __future__ import annotations

from tiny_site import TinySite

PAGE = """---
orphan: true
file_format: mystnb
kernelspec:
  name: python3
---
# Page {name}

Some words.

```{{code-cell}} python
with open({path!r}, "a") as file:
    file.write({name!r})
1 + 1
```
"""


def test_a_changed_cell_runs_only_its_own_page(tmp_path):
    site, ran = TinySite("forms", tmp_path), tmp_path / "ran"
    for name in "ab":
        site.write(f"{name}.md", PAGE.format(name=name, path=str(ran)))
    assert site.build().code == 0
    assert sorted(ran.read_text()) == ["a", "b"]

    site.edit("b.md", "Some words.", "Some other words.")
    assert site.build().code == 0
    assert len(ran.read_text()) == 2
    assert "Some other words." in site.page("b.html")

    site.edit("a.md", "1 + 1", "1 + 40")
    assert site.build().code == 0
    assert ran.read_text()[2:] == "a"
    assert ">41" in site.page("a.html")
