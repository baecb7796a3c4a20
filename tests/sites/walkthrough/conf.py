import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "_ext"))

project = "Tiny"
author = copyright = "Somebody"
version = "1"
extensions = [
    "myst_parser",
    "ablog",
    "ablog_mends",
    "post_info",
    "walkthrough",
    "volume_sidebar",
    "epub_mends",
    "chapter_numbers",
    "sphinx_exercise",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
numfig = True
numfig_secnum_depth = 1
math_numfig = True
templates_path = [str(ROOT / "_templates")]
html_theme = "sphinx_book_theme"
html_theme_options = {"navbar_persistent": []}
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["navbar-logo.html", "search-button-field.html", "volume-sidebar.html"]}
html_static_path = [str(ROOT / "_static")]
html_css_files = ["book.css"]
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
