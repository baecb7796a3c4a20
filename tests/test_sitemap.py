"""The sitemap lists what was written, and nothing that is held back."""

from __future__ import annotations

import pytest
from lxml import etree
from tiny_site import TinySite

NAMES = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}


@pytest.fixture
def listed(tmp_path):
    site = TinySite("blog", tmp_path)
    post = next(site.src.glob("blog/2*/*.md"))
    text = post.read_text(encoding="utf-8")
    site.write(
        f"{post.parent.relative_to(site.src)}/an-idea.md",
        text.replace("---\n", "---\ndraft: true\n", 1),
    )
    assert (
        site.build(
            "-D", "extensions=myst_parser,ablog,ablog_mends,held_back,post_front_matter,sitemap"
        ).code
        == 0
    )
    root = etree.fromstring((site.out / "sitemap.xml").read_bytes())
    return {
        url.findtext("s:loc", namespaces=NAMES): url.findtext("s:lastmod", namespaces=NAMES)
        for url in root
    }


def test_it_lists_pages_posts_with_their_dates_and_the_archive(listed):
    posts = [address for address in listed if "/blog/2" in address]
    assert posts
    assert all(listed[address] for address in posts)
    assert any(address.endswith("/blog/index.html") for address in listed)


def test_it_leaves_out_drafts_and_lists_of_tags(listed):
    assert not any("an-idea" in address or "/tag/" in address for address in listed)
