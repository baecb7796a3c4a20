"""The lines under a post's title."""

from __future__ import annotations

from pathlib import Path

import lxml.html
from tiny_site import TinySite

POST = """---
date: "2026-03-01"
author: ada
summary: Short.
---
# A long read

{text}

$$x = 1 + 2 + 3 + 4$$

```python
{code}
```
"""


def lines(site: TinySite, page: str) -> list[str]:
    found = lxml.html.fromstring(site.page(page)).xpath("//*[contains(@class,'post-info')]/p")
    return [" ".join(line.text_content().split()) for line in found]


def test_days_minutes_authors_category_and_tags(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    text, code = " ".join(["word"] * 221), "\n".join(["one = two + three"] * 400)
    site.write("blog/2026/long.md", POST.format(text=text, code=code))
    assert site.build().code == 0
    assert lines(site, "blog/2026/walk-one.html") == [
        "February 18, 2026 · updated March 5, 2026 · 1 min read · Ada Example, Tiny & contributors",
        "Volume One · sampling · first steps",
    ]
    # 221 words and the title are more than one minute; code and formulae are not read aloud.
    assert lines(site, "blog/2026/long.html") == ["March 1, 2026 · 2 min read · Ada Example"]
    assert lines(site, "index.html") == []
    page = lxml.html.fromstring(site.page("blog/2026/walk-one.html"))
    times = page.xpath("//*[contains(@class,'post-info')]//time/@datetime")
    assert times == ["2026-02-18", "2026-03-05"]
    for address in page.xpath("//*[contains(@class,'post-info')]//a/@href"):
        assert (site.out / "blog/2026" / address).is_file()


def test_other_builders_leave_them_out(tmp_path: Path) -> None:
    site = TinySite("blog", tmp_path)
    assert site.build(builder="text", out="text").code == 0
    text = (site.out / "blog/2026/walk-one.txt").read_text("utf-8")
    assert "The point of the chapter" in text
    assert "min read" not in text
