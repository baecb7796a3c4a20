import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "_ext"))

project = "Pages"
author = copyright = "Somebody"
version = "1"
extensions = [
    "myst_parser",
    "sphinx_design",
    "mathml",
    "inline_svg",
    "lean_pages",
    "book_search",
    "epub_mends",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "attrs_inline"]
templates_path = [str(ROOT / "_templates")]
html_static_path = [str(ROOT / "_static")]
html_css_files = ["book.css"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_persistent": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "disable_search": True,
}
html_sidebars = {"**": ["navbar-logo.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"
