"""Experiments that take longer than a page may: each is a program that stores its numbers.

`python -m llm_primer.experiments.<name>` runs one and writes ``results/<name>.json``; the chapters
read that file with `load` and draw it, so that a reader sees the numbers that the program found.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm_primer.checkpoint import write_atomically
from llm_primer.errors import PrimerError

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    """The stored results of one experiment.

    Raises:
        PrimerError: there are none of that name.
    """
    try:
        found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    except OSError:
        raise PrimerError(
            f"No results of {name!r}; python -m llm_primer.experiments.{name} makes them."
        ) from None
    return found


def store(
    name: str,
    run: Callable[[], dict[str, Any]],
    about: str | None,
    arguments: Sequence[str] | None = None,
) -> None:
    """The command line of an experiment: runs it and stores its results, all or nothing.

    Args:
        name: of the experiment; results go to ``results/<name>.json`` unless ``--out`` is given.
        run: the experiment.
        about: its module's docstring; the first line is shown by ``--help``.
        arguments: of the command line; None for the program's own.
    """
    parser = argparse.ArgumentParser(description=(about or name).splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    out = parser.parse_args(arguments).out
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, (dumps(run()) + "\n").encode())
    print(f"wrote {out}")


def dumps(results: dict[str, Any]) -> str:
    """JSON with one line for each list of numbers."""
    return re.sub(
        r"\[\s+([^][{}]*?)\s+\]",
        lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]",
        json.dumps(results, indent=1),
    )
