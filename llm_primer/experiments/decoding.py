"""Chapter 2 of Volume I: what heat spoils in the model's stories, and what a cut wins back.

The book's model writes stories with several settings of temperature, top-p and min-p. Each story is
judged sentence by sentence up to its first impossible one, and all sentences are counted that
differ from one another.

    python -m llm_primer.experiments.decoding

takes about two minutes on one core and writes ``results/decoding.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from llm_primer.evaluation import judge, sentences
from llm_primer.experiments import store
from llm_primer.sampling import generate_many
from llm_primer.transformer import Transformer, load_book_model
from llm_primer.world import World

SETTINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.5},
    {"temperature": 1.0},
    {"temperature": 1.5},
    {"temperature": 1.5, "top_p": 0.9},
    {"temperature": 1.5, "min_p": 0.1},
)


def run(stories: int = 200, seed: int = 2, model: Transformer | None = None) -> dict[str, Any]:
    """Writes and judges stories with each of `SETTINGS`.

    Args:
        stories: how many for each setting.
        seed: of the draws.
        model: who writes; the book's model by default.
    """
    book, tokenizer = load_book_model()
    model, world = model or book, World()
    rows = []
    for settings in SETTINGS:
        written = generate_many(
            model, [tokenizer.end_id], stories, seed=seed, stop=tokenizer.end_id, **settings
        )
        texts = [tokenizer.decode(new) for new in written]
        verdicts = [judge(text, world) for text in texts]
        told = [sentence for text in texts for sentence in sentences(text)]
        rows.append(
            {
                "settings": settings,
                "judged": sum(v.judged for v in verdicts),
                "possible": sum(v.possible for v in verdicts),
                "sentences": len(told),
                "different": len(set(told)),
            }
        )
    return {
        "experiment": "decoding",
        "date": date.today().isoformat(),
        "seed": seed,
        "stories": stories,
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: ``python -m llm_primer.experiments.decoding [--out FILE]``."""
    store("decoding", run, __doc__, arguments)


if __name__ == "__main__":
    main()
