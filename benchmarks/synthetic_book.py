"""Writes a book of any length, the same for every program that is to build it.

Chapters stand in volumes of twenty. Each has prose, formulae of which about a hundred are its own
(as many as a chapter of the real book's first volume has, which assumes no mathematics), code, a
table, a drawing and references to other chapters; for every three chapters there is a post. The
same text is written as MyST for Sphinx and as Markdown for Hugo.

Sphinx can be told in two ways what belongs together, and the costs differ much. Most books list
every chapter on the landing page, under a caption for each volume: that is the layout here. With
`nested` the landing page lists the volumes and each volume's page its chapters, as in the real
book.
"""

from __future__ import annotations

import random
from pathlib import Path

VOLUME = 20  # chapters
TEXT = """
the model reads a token and names odds for what may follow it because nothing else was ever asked of
it while every weight moved a little toward better answers so that a long chain of small sums became
a record of things people places and what they carry from one to another
"""
WORDS = TEXT.split()
FORMULAE = (
    r"p_\theta(x_t \mid x_{<t})",
    r"\mathbf{Q}\mathbf{K}^\top / \sqrt{d}",
    r"\lVert \mathbf{x} \rVert",
    r"\mathcal{L} = -\frac{1}{T} \sum_{t=1}^{T} \ln p_t",
    r"e^{z_i} / \sum_j e^{z_j}",
    r"6ND",
)
DISPLAYS = (  # N and M are replaced, so that each chapter's are its own
    r"\mathbb{E}_{x \sim p}\left[\frac{\partial \mathcal{L}}{\partial w_{N}}\right]"
    r" = \sum_{i=1}^{M} p_i \, \nabla_i",
    r"\operatorname{softmax}\left(\frac{\mathbf{q}_{N} \mathbf{K}^\top}{\sqrt{M}}\right)\mathbf{V}",
    r"\theta_{t+N} = \theta_t - \eta \frac{\hat{m}_t}{\sqrt{\hat{v}_t} + 10^{-M}}",
)
SECTIONS = 6
OWN = 15  # formulae within the lines of a section that no other chapter has


def prose(rng: random.Random, words: int, extra: list[str]) -> str:
    """Sentences of random words, with each of `extra` put in somewhere."""
    pieces = [rng.choice(WORDS) for _ in range(words)]
    for item in extra:
        pieces.insert(rng.randrange(1, len(pieces)), item)
    lines = [" ".join(pieces[i : i + 14]).capitalize() + "." for i in range(0, len(pieces), 14)]
    return "\n".join(lines)


def drawing(rng: random.Random) -> str:
    """A bar chart as SVG, some three kilobytes."""
    bars = "".join(
        f'<rect x="{20 + 14 * i}" y="{200 - h}" width="11" height="{h}" fill="#1f77b4"/>'
        f'<text x="{25 + 14 * i}" y="214" font-size="9" text-anchor="middle">{h}</text>'
        for i, h in enumerate(rng.randrange(10, 180) for _ in range(28))
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 430 220" width="430" height="220">'
        f'<path d="M15 200H420" stroke="currentColor"/>{bars}</svg>'
    )


def path_of(chapter: int) -> str:
    """Where a chapter lies, without its ending."""
    return f"volumes/{chapter // VOLUME + 1}-volume/{chapter % VOLUME + 1:02}-chapter-{chapter}"


def chapter_text(number: int, total: int, hugo: bool) -> str:
    """One chapter."""
    rng = random.Random(number)
    head = (
        f"+++\ntitle = 'Chapter {number}'\n+++\n"
        if hugo
        else f"(chapter-{number})=\n# Chapter {number}\n"
    )
    parts = [head]
    for section in range(SECTIONS):
        own = [f"$w_{{{number}}}^{{({section}{i})}} = {rng.randrange(99)}$" for i in range(OWN)]
        shared = [f"${rng.choice(FORMULAE)}$" for _ in range(4)]
        other = rng.randrange(total)
        link = (
            f'[another chapter]({{{{< relref "/{path_of(other)}" >}}}})'
            if hugo
            else f"{{ref}}`another chapter <chapter-{other}>`"
        )
        parts.append(f"## Question {section} of {number}\n")
        parts.append(prose(rng, 75, [*own, *shared, link]) + "\n")
        display = rng.choice(DISPLAYS)
        display = display.replace("{N}", f"{{{number}}}").replace("+N", f"+{number}")
        display = display.replace("{M}", f"{{{section + 1}}}").replace("-M", f"-{section + 1}")
        if hugo:
            parts.append(f"$$\n{display}\n$$\n")
        else:
            parts.append(f"```{{math}}\n:label: eq-{number}-{section}\n{display}\n```\n")
        parts.append(prose(rng, 60, []) + "\n")
    parts.append(
        "```python\nimport numpy as np\n\n"
        + "\n".join(f"x{i} = np.exp({i} * {number}) + {i}" for i in range(12))
        + "\n```\n"
    )
    parts.append(
        "| token | odds |\n|---|---|\n"
        + "\n".join(f"| {rng.choice(WORDS)} | {rng.random():.3f} |" for _ in range(6))
        + "\n"
    )
    figure = f"figures/chart-{number}.svg"
    parts.append(
        f"![Bars of chapter {number}](/{Path(path_of(number)).parent}/{figure})\n"
        if hugo
        else f":::{{figure}} {figure}\n:alt: Bars of chapter {number}.\n:name: fig-{number}\n\n"
        "What the bars show.\n:::\n"
    )
    return "\n".join(parts)


def post_text(number: int, total: int, hugo: bool) -> str:
    """One post, dated within 2025."""
    rng = random.Random(10_000 + number)
    day = f"2025-{number % 12 + 1:02}-{number // 12 % 28 + 1:02}"
    other = rng.randrange(total)
    if hugo:
        head = (
            f"+++\ntitle = 'Post {number}'\ndate = '{day}'\n"
            f"categories = ['Walkthrough']\ntags = ['tag{number % 7}']\n+++\n"
        )
        link = f'[its chapter]({{{{< relref "/{path_of(other)}" >}}}})'
    else:
        head = (
            f'---\ndate: "{day}"\ncategory: Walkthrough\ntags: [tag{number % 7}]\n'
            f"author: contributors\nsummary: What post {number} says.\n---\n# Post {number}\n"
        )
        link = f"{{ref}}`its chapter <chapter-{other}>`"
    return head + "\n" + prose(rng, 400, [link, "$6ND$"]) + "\n"


def toctree(pages: list[str], *options: str) -> str:
    """A toctree directive."""
    return "\n".join(["```{toctree}", *options, "", *pages, "```", ""])


def write(folder: Path, chapters: int, hugo: bool = False, nested: bool = False) -> None:
    """Writes the sources of a book into `folder`, with a page for each volume."""
    root = folder / "content" if hugo else folder

    def put(name: str, text: str) -> None:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    for n in range(chapters):
        put(path_of(n) + ".md", chapter_text(n, chapters, hugo))
        figures = folder / "static" if hugo else folder
        figure = figures / Path(path_of(n)).parent / f"figures/chart-{n}.svg"
        figure.parent.mkdir(parents=True, exist_ok=True)
        figure.write_text(drawing(random.Random(n)), encoding="utf-8")
    for n in range(chapters // 3):
        put(f"blog/2025/post-{n}.md", post_text(n, chapters, hugo))

    volumes: dict[str, list[str]] = {}
    for n in range(chapters):
        volumes.setdefault(str(Path(path_of(n)).parent), []).append(path_of(n))
    contents = [toctree(["volumes/index"])]
    for number, (volume, pages) in enumerate(volumes.items(), 1):
        if hugo:
            put(f"{volume}/_index.md", f"+++\ntitle = 'Volume {number}'\n+++\n")
        elif nested:
            names = toctree([Path(page).name for page in pages], ":numbered:")
            put(f"{volume}/index.md", f"# Volume {number}\n\n{names}")
        else:
            put(f"{volume}/index.md", f"# Volume {number}\n\nTwenty chapters of random words.\n")
            contents.append(toctree([f"{volume}/index"], f":caption: Volume {number}"))
            contents.append(toctree(pages, ":numbered:"))
    if hugo:
        return
    series = toctree([f"{Path(volume).name}/index" for volume in volumes]) if nested else ""
    put("volumes/index.md", f"# Volumes\n\nAll of them.\n\n{series}")
    put("index.md", "# A book\n\nA book of random words.\n\n" + "\n".join(contents))
