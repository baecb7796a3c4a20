"""How the figures of the book look.

Figures are SVG with transparent background and text as text. Lines and letters that are black here
take the page's own color there; the colors of `COLORS` are the same in light and in dark mode and
stand out at least 3 to 1 from both backgrounds, which is what WCAG 2.2 (success criterion 1.4.11)
asks of graphics.

Matplotlib is imported only when a figure is wanted: the rest of the package works without it.
"""

from __future__ import annotations

#: The palette, in the order in which curves take their colors.
COLORS = {
    "blue": "#3b7dd8",
    "orange": "#d06a0c",
    "green": "#2b9257",
    "red": "#d6455d",
    "purple": "#8f66d9",
    "teal": "#16909c",
    "pink": "#cc559f",
    "gray": "#7f7f7f",
}

#: Page backgrounds: light mode and dark mode.
BACKGROUNDS = ("#ffffff", "#121212")

#: Width and height of a figure in inches, unless it asks for others.
FIGURE_SIZE = (6.5, 3.2)


def luminance(color: str) -> float:
    """Relative luminance of an sRGB color "#rrggbb", from 0 (black) to 1 (white); WCAG 2.2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colors "#rrggbb", from 1 to 21; WCAG 2.2."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def use_book_style() -> None:
    """Give all figures from here on the look of the book; in a notebook also as inline SVG.

    Sets Matplotlib's defaults: the palette, the size, black text and axes without the box, a
    transparent background, and a fixed salt, so that the same cell gives the same SVG every time.
    """
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.figsize": FIGURE_SIZE,
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "none",
            "axes.edgecolor": "black",
            "axes.labelcolor": "black",
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=list(COLORS.values())),
            "axes.axisbelow": True,
            "grid.color": COLORS["gray"],
            "grid.alpha": 0.35,
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "text.color": "black",
            "xtick.color": "black",
            "ytick.color": "black",
            "font.family": "sans-serif",
            "font.size": 10,
            "savefig.facecolor": "none",
            "savefig.transparent": True,
            "savefig.format": "svg",
            "svg.fonttype": "none",
            "svg.hashsalt": "llm-primer",
        }
    )
    if _in_notebook():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None
