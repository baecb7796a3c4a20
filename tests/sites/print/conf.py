import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "_ext"))

project = "Tiny Book"
author = copyright = "Somebody"
version = release = "1"
extensions = [
    "myst_parser",
    "ablog",
    "ablog_mends",
    "post_info",
    "walkthrough",
    "epub_mends",
    "announced",
    "asides",
    "lab",
    "printed_book",
    "downloads",
    "sphinxcontrib.bibtex",
    "sphinxcontrib.rsvgconverter",
    "chapter_numbers",
    "sphinx_exercise",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
numfig = True
numfig_secnum_depth = 1
math_numfig = True
templates_path = [str(ROOT / "_templates")]
html_theme = "basic"
html_baseurl = "https://book.example/"
html_copy_source = False
blog_path = "blog"
blog_post_pattern = "blog/[0-9]*/*.md"
blog_authors = {"somebody": ("Somebody", None)}
blog_default_author = "somebody"
blog_feed_templates = {}
post_date_format = "%Y-%m-%d"
post_date_format_short = "%Y-%m-%d"
post_show_prev_next = False
skip_injecting_base_ablog_templates = True
fontawesome_included = True
blog_baseurl = html_baseurl
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
math_eqref_format = "({number})"
latex_engine = "xelatex"
latex_use_xindy = False
latex_table_style = ["booktabs"]
epub_basename = "tiny-book"
epub_identifier = "tag:book.example,2026:epub"
epub_uid = "book-id"
epub_show_urls = "no"
epub_tocscope = "includehidden"
