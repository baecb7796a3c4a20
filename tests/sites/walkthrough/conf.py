import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "_ext"))  # replaced when the site is copied

project = "Tiny"
author = "Somebody"
version = "1"
extensions = ["myst_parser", "ablog", "ablog_mends", "walkthrough"]
myst_enable_extensions = ["colon_fence"]
html_theme = "basic"
html_baseurl = "https://book.example/"
blog_path = "blog"
blog_post_pattern = "blog/[0-9]*/*.md"
blog_authors = {"somebody": ("Somebody", None)}
blog_default_author = "somebody"
blog_feed_templates = {}
post_date_format = "%Y-%m-%d"
post_show_prev_next = False
fontawesome_included = True
