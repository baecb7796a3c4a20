"""Chapter 5 of Volume I: what the settings of a run do to the model that comes out.

One small transformer is trained many times on the same amount of text: with several learning rates
and batch sizes (the grid), and with fewer and fewer different stories, read more and more often
(the repeats). All are measured on unseen stories, above the world's floor.

    python -m llm_primer.experiments.settings

takes about five minutes on one core and writes ``results/settings.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from tqdm import tqdm

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError
from llm_primer.evaluation import loss_report, story_losses
from llm_primer.experiments import store
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import History, TrainConfig, book_texts, encode_documents, train
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import World

BATCHES = (2, 8, 32, 128)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
STORIES = (50, 200, 1000, 20_000)
CONTEXT = 128


def small(seed: int) -> Transformer:
    """The model that is trained: two blocks, width 32."""
    return Transformer(TransformerConfig(width=32, layers=2, heads=2), seed)


def trained(
    ids: Array, ids_valid: Array, tokens: int, batch: int, lr: float, seed: int, checks: int
) -> tuple[Transformer, History]:
    """The small model after that many tokens, and the history of its run."""
    tokenizer = Tokenizer.book()
    steps = max(1, round(tokens / (batch * CONTEXT)))
    model = small(seed)
    config = TrainConfig(
        steps=steps,
        batch_size=batch,
        context=CONTEXT,
        lr=lr,
        warmup=max(1, steps // 10),
        seed=seed,
        document_start=tokenizer.end_id,
        valid_every=max(1, steps // checks),
        valid_windows=100,
    )
    return model, train(model, ids, ids_valid, config)


def run(
    batches: Sequence[int] = BATCHES,
    rates: Sequence[float] = RATES,
    amounts: Sequence[int] = STORIES,
    grid_tokens: int = 260_000,
    repeat_tokens: int = 1_000_000,
    test_stories: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains the small model with every setting.

    Args:
        batches: windows per update, for the grid.
        rates: peak learning rates, for the grid.
        amounts: how many different stories there are to read, for the repeats.
        grid_tokens: tokens that each run of the grid reads.
        repeat_tokens: tokens that each run of the repeats reads.
        test_stories: whose loss is measured (seed 3).
        seed: of first weights and batches.
        progress: shows progress bars on stderr.

    Returns:
        The numbers that ``results/settings.json`` holds. A run that broke off has the gap None.
    """
    world, tokenizer = World(), Tokenizer.book()
    texts = book_texts(world, max(amounts), 1)
    ids = encode_documents(texts, tokenizer)
    ids_valid = encode_documents(book_texts(world, 100, 2), tokenizer)

    grid: list[dict[str, Any]] = []
    todo = [(batch, lr) for batch in batches for lr in rates]
    for batch, lr in tqdm(todo, disable=not progress, unit="run"):
        entry: dict[str, Any] = {"batch": batch, "lr": lr, "gap": None, "curve": []}
        try:
            model, history = trained(ids, ids_valid, grid_tokens, batch, lr, seed, 30)
            report = loss_report(model, tokenizer, world, test_stories)
            entry["gap"] = round(report.gap.estimate, 4)
            few = history.downsample(30)
            entry["curve"] = [round(value, 3) for value in few.loss]
        except PrimerError:
            pass  # the loss was no longer a number: that is the result
        grid.append(entry)

    repeats = []
    for amount in tqdm(amounts, disable=not progress, unit="run"):
        own = encode_documents(texts[:amount], tokenizer)
        model, history = trained(own, ids_valid, repeat_tokens, 8, 1e-2, seed, 30)
        seen = texts[: min(amount, test_stories)]
        length = sum(len(tokenizer.encode(text)) + 1 for text in seen)
        report = loss_report(model, tokenizer, world, test_stories)
        repeats.append(
            {
                "stories": amount,
                "tokens": len(own),
                "times_read": round(history.tokens / len(own), 2),
                "steps": history.valid_step,
                "valid": [round(value, 4) for value in history.valid_loss],
                "train": [round(value, 4) for value in history.downsample(30).loss],
                "seen_loss": round(
                    sum(one.sum() for one in story_losses(model, tokenizer, seen)) / length, 4
                ),
                "seen_floor": round(-sum(world.log_prob(text) for text in seen) / length, 4),
                "loss": round(report.loss.estimate, 4),
                "floor": round(report.floor.estimate, 4),
            }
        )
    return {
        "experiment": "settings",
        "date": date.today().isoformat(),
        "seed": seed,
        "parameters": small(seed).num_parameters(),
        "context": CONTEXT,
        "grid_tokens": grid_tokens,
        "repeat_tokens": repeat_tokens,
        "test_stories": test_stories,
        "grid": grid,
        "repeats": repeats,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("settings", run, __doc__, arguments)


if __name__ == "__main__":
    main()
