import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "_ext"))

project = "Figures"
author = copyright = "Somebody"
version = "1"
extensions = ["myst_parser", "inline_svg"]
myst_enable_extensions = ["colon_fence"]
numfig = True
html_theme = "basic"
html_scaled_image_link = False
