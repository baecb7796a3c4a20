import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "_ext"))

project = "Boxes"
author = copyright = "Somebody"
version = "1"
extensions = ["myst_parser", "asides", "lab"]
myst_enable_extensions = ["colon_fence"]
html_theme = "basic"
