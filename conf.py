"""Configuration of the book: project, extensions, sources, cells, HTML, blog, print."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Cells run in a kernel of their own: this is how it finds the companion package of this checkout.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
# The book's arrays are too small to be worth a second thread, and on a busy machine threads that
# wait for each other make a page ten times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# -- Project -----------------------------------------------------------------------------------

project = "Introduction to LLM"
author = "LLM Primer contributors"
copyright = f"2026, {author}"
language = "en"
version = release = "2026.11"  # EPUB and PDF need one; year and month of the edition

# -- Extensions --------------------------------------------------------------------------------

extensions = [
    "quick_start",  # what runs cells is loaded when one is to run: before "myst_nb"
    "myst_nb",
    "ablog",
    "sphinx_design",
    "sphinx_exercise",
    "sphinxcontrib.bibtex",
    "notfound.extension",  # 404.html: found from any address, so its own links are absolute
    "sphinxcontrib.rsvgconverter",  # SVG figures become PDF for LaTeX; HTML keeps them as they are
    # Our own, in _ext/: one file, one purpose.
    "quick_trees",  # pages are built with less looking for nodes and for garbage
    "quick_pages",  # what is the same for every page is done once
    "quick_references",  # figures and works are looked up without reading everything again
    "mathml",  # mathematics laid out at build time: no script on the page
    "inline_svg",  # SVG figures inside the page, so that they follow dark mode
    "post_front_matter",  # checks the posts' front matter and hands ABlog only values it can take
    "held_back",  # drafts and posts dated after today never enter the build
    "ablog_mends",  # ABlog made safe for -j and right on incremental builds
    "feeds",  # Atom feeds for the blog, each category and each tag
    "sitemap",  # sitemap.xml: the pages that somebody wrote
    "plain_text",  # a Markdown page beside every page, and llms.txt
    "link_previews",  # what a link looks like in a message: tags, and a picture drawn for each page
    "structured_data",  # what a page is, in the words of schema.org
    "notebooks",  # pages with cells as .ipynb
    "post_info",  # date, update, reading time, authors, category, tags under a post's title
    "chapter_numbers",  # a chapter's number is its file's, also in a volume in parts
    "announced",  # chapters to come can be referred to, and say that they are in preparation
    "walkthrough",  # ties posts and chapters; {chapters}, {series}
    "volume_sidebar",  # navigation rendered once per volume
    "exercise_ids",  # sphinx-exercise repeats ids on a page
    "fresh_numbers",  # a figure's number is right also on the pages that cite it from elsewhere
    "asides",  # {plain-english}
    "lab",  # {lab}
    "printed_book",  # PDF: one for each volume, one for the guide of 2024, one of everything
    "downloads",  # what `make pdf` and `make epub` have built, offered on the site
    "epub_mends",  # mathematics announced, drawings without a document type
    "lean_pages",  # one style sheet and one script in place of the theme's two dozen
    "book_search",  # the search, from an index in small pieces
]

# -- Sources -----------------------------------------------------------------------------------

# Folders without "/**": a pattern that matched the files below .venv would also keep the style
# sheets of the packages installed there out of the site.
exclude_patterns = [
    ".*",
    "_build",
    "_ext",
    "_static",
    "_templates",
    "benchmarks",
    "llm_primer",
    "tests",
    "README.md",
    "CONTRIBUTING.md",
]
templates_path = ["_templates"]
nitpicky = True
numfig = True  # "Fig. 2.3", so that a figure can be cited from any page
numfig_secnum_depth = 1
math_numfig = True
math_eqref_format = "({number})"

# -- MyST and cells ----------------------------------------------------------------------------

myst_enable_extensions = [
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "amsmath",
    "fieldlist",
    "html_image",
    "smartquotes",
    "strikethrough",
    "substitution",
    "tasklist",
]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # a cell runs again only when a cell of its page has changed
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 300  # seconds a cell; a page takes ten, on a busy machine more
nb_execution_raise_on_error = False  # a failing cell is a warning with its page, and -W stops on it
nb_merge_streams = True
nb_mime_priority_overrides = [  # drawings stay drawings: sharp, and in HTML right in dark mode
    ("html", "image/svg+xml", 0),
    ("epub", "image/svg+xml", 0),
    ("latex", "image/svg+xml", 0),
]

# From where a notebook's reader installs the companion package; whoever publishes the site knows.
notebooks_repository = (
    os.environ.get("REPOSITORY_URL")
    or os.environ.get("READTHEDOCS_GIT_CLONE_URL")
    or "/".join(filter(None, map(os.environ.get, ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))))
)

# A link where it is known to lead somewhere: an address for git alone is none for a reader.
_home = notebooks_repository.removesuffix(".git") if notebooks_repository.startswith("http") else ""
myst_substitutions = {
    "repository": f"[repository]({_home})" if _home else "repository",
    "issue_tracker": f"[issue tracker]({_home}/issues)" if _home else "issue tracker",
}

# -- Bibliography ------------------------------------------------------------------------------

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "alpha"
bibtex_reference_style = "author_year"
bibtex_cite_id = "cite-{key}"  # otherwise counted: another work would move the addresses of all

# -- HTML --------------------------------------------------------------------------------------

html_theme = "sphinx_book_theme"
html_title = project
# Canonical addresses, feeds and the sitemap need the place where the site will stand.
html_baseurl = (
    os.environ.get("SITE_URL")
    or os.environ.get("READTHEDOCS_CANONICAL_URL")
    or "https://introduction-to-llm.readthedocs.io/en/latest/"
)
html_static_path = ["_static"]
notfound_urls_prefix = "/" + "/".join(html_baseurl.split("/")[3:])
notfound_context = {
    "title": "Page not found",
    "body": f"""<h1>Page not found</h1>
<p>There is no page at this address. Perhaps it has moved: begin at the
<a href="{notfound_urls_prefix}index.html">landing page</a>, look through the
<a href="{notfound_urls_prefix}volumes/index.html">volumes</a> or the
<a href="{notfound_urls_prefix}blog/index.html">posts</a>, or search.</p>
""",
}
html_css_files = ["book.css"]
html_copy_source = False
html_math_renderer = "mathml"
mathml_cache_path = str(HERE / "_build" / ".math_cache")  # `make clean` keeps it, as it does cells
link_previews_cache_path = str(HERE / "_build" / ".preview_cache")
structured_data_license = "https://creativecommons.org/licenses/by-sa/4.0/"
html_scaled_image_link = False  # a drawing in the page needs no link to its file
html_theme_options = {
    "navbar_persistent": [],  # otherwise an empty bar with a second search button
    "disable_search": True,  # the theme's dialog: ours is made by _static/search.js
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}
html_sidebars = {
    # One pattern for every page: the sidebar knows whether it stands in a volume or the blog.
    "**": ["navbar-logo.html", "search-button-field.html", "volume-sidebar.html"],
}
html_context = {"default_mode": "auto"}  # otherwise every page logs "Got invalid theme mode"
html_last_updated_fmt = None  # a build date in every page would make every build differ

# -- Blog --------------------------------------------------------------------------------------

blog_title = "Introduction to LLM: the blog"
blog_baseurl = html_baseurl  # ABlog's references in LaTeX need absolute addresses
blog_path = "blog"  # the archive is blog/index.html, never blog.html beside it
blog_post_pattern = "blog/[0-9]*/*.md"  # posts lie in their year's folder; figures are not posts
blog_authors = {"contributors": ("LLM Primer contributors", None)}
blog_default_author = "contributors"
blog_feed_templates = {}  # ABlog writes no feed: `feeds` does, and they validate
# Names all feed ids. It never changes, even if the site moves: readers would get every post again.
feeds_authority = "introduction-to-llm.readthedocs.io,2026"
post_date_format = "%Y-%m-%d"  # what ABlog parses; readers see "February 18, 2026" (post_info)
post_date_format_short = "%Y-%m-%d"  # no month names, which follow the machine's locale
post_show_prev_next = False  # ABlog's cross the series; those of `walkthrough` stay inside one
fontawesome_included = True  # set late by the theme otherwise, and then every build is a full one
skip_injecting_base_ablog_templates = True  # its page.html adds empty boxes to every page

# -- Print -------------------------------------------------------------------------------------

latex_engine = "xelatex"
latex_use_xindy = False  # makeindex comes with every TeX and sorts English as well
latex_table_style = ["booktabs"]
epub_basename = "introduction-to-llm"
epub_identifier = f"tag:{feeds_authority}:epub"  # like those of the feeds, it never changes
epub_uid = "book-id"
epub_copyright = (
    f"© {copyright}. Text and figures: Creative Commons Attribution-ShareAlike 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/). Code, code cells included: MIT."
)
epub_description = "How large language models work, from first principles, with code that runs."
epub_show_urls = "no"
epub_tocdup = False
epub_tocscope = "includehidden"  # ours are all hidden: pages have lists of their own
