import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "_ext"))

project = "Mathematics"
author = copyright = "Somebody"
version = "1"
extensions = ["myst_parser", "quick_trees", "mathml"]
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
numfig = math_numfig = True
math_eqref_format = "({number})"
html_theme = "basic"
html_math_renderer = "mathml"
mathml_macros = {r"\softmax": r"\operatorname{softmax}"}
