"""A chapter's number is the number in its file name, in every part and every volume.

What an author writes: ``04-attention.md`` and, in the volume's index page, one ``:numbered:``
toctree per part. What a reader gets: chapter 4 with sections 4.1, 4.2, figures 4.1 and equations
(4.1), although part II begins there. Sphinx by itself starts every numbered toctree at 1, and lets
the figures of a chapter 1 go on where those of another volume's chapter 1 stopped.

A toctree in which the file numbers do not ascend is a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from library import chapter_number, volume_of
from sphinx import addnodes
from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)
Number = tuple[int, ...]


def numbered_chapters(env: BuildEnvironment) -> Iterator[tuple[str, int]]:
    """The chapters in numbered toctrees with the numbers of their files; warns of a wrong order."""
    for page in sorted(env.numbered_toctrees):
        last, last_name = -1, ""
        for toctree in env.tocs[page].findall(addnodes.toctree):
            if not toctree.get("numbered"):
                continue
            for _, name in toctree["entries"]:
                number = chapter_number(name)
                if number is None or name not in env.toc_secnumbers:
                    continue
                if number <= last and volume_of(name) == volume_of(last_name):
                    logger.warning(
                        "chapter numbers must ascend: %s stands after %s",
                        name,
                        last_name,
                        location=(page, toctree.line),
                        type="chapter_numbers",
                    )
                last, last_name = number, name
                yield name, number


def restore_sphinx_numbers(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Hand Sphinx its own numbers back, so that it finds them unchanged if they are."""
    if hasattr(env, "chapter_numbers_undo"):
        env.toc_secnumbers, env.toc_fignumbers = env.chapter_numbers_undo
    return []


def number_by_file_name(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Replace the chapter numbers that Sphinx counted; return the pages whose numbers changed."""
    undo = (env.toc_secnumbers, env.toc_fignumbers)
    env.chapter_numbers_undo = undo  # type: ignore[attr-defined]
    sections, figures = dict(env.toc_secnumbers), dict(env.toc_fignumbers)
    for name, chapter in numbered_chapters(env):
        sections[name] = {
            anchor: (chapter, *number[1:]) if number else number
            for anchor, number in sections[name].items()
        }
        if name in figures:
            figures[name] = {
                kind: _count_again(numbers, chapter) for kind, numbers in figures[name].items()
            }
        # The title and the table of contents carry copies of the numbers: previous and next, the
        # contents in the sidebar and references by number read those.
        copies = [env.titles[name], *env.tocs[name].findall(nodes.reference)]
        for node in copies:
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]
    env.toc_secnumbers, env.toc_fignumbers = sections, figures

    shown = {
        name: (sections.get(name), figures.get(name)) for name in sections.keys() | figures.keys()
    }
    before = getattr(env, "chapter_numbers_shown", {})
    env.chapter_numbers_shown = shown  # type: ignore[attr-defined]
    changed = [n for n in shown.keys() | before.keys() if shown.get(n) != before.get(n)]
    return sorted(name for name in changed if name in env.all_docs)


def _count_again(numbers: dict[str, Number], chapter: int) -> dict[str, Number]:
    """Number the figures (or equations, ...) of one chapter from 1 in each of their sections."""
    counters: dict[Number, int] = {}
    result: dict[str, Number] = {}
    for identifier, number in numbers.items():
        section = number[:-1] and (chapter, *number[1:-1])
        counters[section] = counters.get(section, 0) + 1
        result[identifier] = (*section, counters[section])
    return result


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect around Sphinx's own numbering, which runs at priority 500."""
    app.connect("env-get-updated", restore_sphinx_numbers, priority=100)
    app.connect("env-get-updated", number_by_file_name, priority=600)
    return {
        "version": "1.0",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
