"""The smallest site with a blog like the book's: what the blog's extensions are tested on."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "_ext"))

project = "Tiny book"
author = "Tiny authors"
language = "en"
extensions = ["myst_parser", "post_front_matter", "held_back", "ablog_mends", "feeds", "post_info"]
templates_path = [str(ROOT / "_templates")]
html_theme = "sphinx_book_theme"
html_baseurl = "https://book.example/en/latest/"
html_context = {"default_mode": "auto"}
myst_enable_extensions = ["dollarmath", "colon_fence"]

blog_title = "The tiny blog"
blog_baseurl = html_baseurl
blog_path = "blog"
blog_post_pattern = "blog/[0-9]*/*.md"
blog_authors = {
    "ada": ("Ada Example", "https://ada.example/"),
    "contributors": ("Tiny & contributors", None),
}
blog_default_author = "contributors"
blog_feed_templates = {}
feeds_authority = "book.example,2026"
post_date_format = post_date_format_short = "%Y-%m-%d"
fontawesome_included = True
skip_injecting_base_ablog_templates = True
