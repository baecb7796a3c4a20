"""Experiments that take longer than a page may: each is a program that stores its numbers.

`python -m llm_primer.experiments.<name>` runs one and writes ``results/<name>.json``; the chapters
read that file with `load` and draw it, so that a reader sees the numbers that the program found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
