"""Chapter 5 of Volume I: how the loss falls with parameters and text, measured above the floor.

Transformers of four sizes are each trained from nothing on five amounts of text, mostly fresh, and
every one is then measured on the same unseen stories, whose exact probability the world knows. So
the part of the loss that no model can remove need not be guessed, as it must be for real text.

    python -m llm_primer.experiments.scaling

takes about six minutes on one core and writes ``results/scaling.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from tqdm import tqdm

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError
from llm_primer.evaluation import completion_accuracy, loss_report
from llm_primer.experiments import store
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import TrainConfig, book_texts, encode_documents, train
from llm_primer.transformer import Transformer, TransformerConfig, load_book_model
from llm_primer.world import World

#: Width, blocks, heads and peak learning rate; the rates came best in short trials.
SIZES = ((16, 2, 2, 3e-2), (32, 2, 2, 2e-2), (48, 3, 3, 1.5e-2), (64, 4, 4, 1e-2))
TOKENS = (125_000, 250_000, 500_000, 1_000_000, 2_000_000)
BATCH, CONTEXT = 8, 128


# --- The law --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScalingLaw:
    """The loss of a model with N parameters after D tokens: E + A / N^alpha + B / D^beta.

    The form is that of Hoffmann et al. (2022, arXiv:2203.15556, equation 2), in nats per token.

    Attributes:
        e: what stays for any model, however large and however long trained.
        a, alpha: what a model of finite size adds.
        b, beta: what finite text adds.
    """

    e: float
    a: float
    alpha: float
    b: float
    beta: float

    def __call__(self, n: Any, d: Any) -> Any:
        """The loss in nats per token; numbers or arrays."""
        return self.e + self.a / n**self.alpha + self.b / d**self.beta

    def best_split(self, compute: float) -> tuple[float, float]:
        """N and D with the lowest loss among those with 6 N D = compute (equation 4 there)."""
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        n = g * (compute / 6) ** (self.beta / (self.alpha + self.beta))
        return n, compute / (6 * n)


def fit_law(n: Array, d: Array, loss: Array, e: float | None = None) -> ScalingLaw:
    """The law that comes closest to measured losses, by relative error squared.

    For given exponents the law is linear in E, A and B, so the exponents are searched on a grid and
    the rest is solved for. All of E, A and B must come out positive.

    Args:
        n: parameters of the runs, (runs,).
        d: tokens they were trained on, (runs,).
        loss: what came of it, nats per token, (runs,).
        e: the irreducible loss, if it is known; else it is fitted too.

    Raises:
        PrimerError: there are fewer runs than numbers to fit.
    """
    n, d, loss = (np.asarray(v, float) for v in (n, d, loss))
    if len(loss) < 5:
        raise PrimerError(f"Five numbers cannot be fitted to {len(loss)} runs.")
    best, law = np.inf, None
    target = (loss if e is None else loss - e) / loss
    for alpha in np.arange(0.1, 2.01, 0.02):
        for beta in np.arange(0.1, 2.01, 0.02):
            columns = [n**-alpha, d**-beta] + ([np.ones_like(n)] if e is None else [])
            rows = np.stack(columns, axis=1) / loss[:, None]
            found, *_ = np.linalg.lstsq(rows, target, rcond=None)
            error = float(((rows @ found - target) ** 2).sum())
            if error < best and (found > 0).all():
                best = error
                floor = float(found[2]) if e is None else e
                law = ScalingLaw(floor, float(found[0]), alpha, float(found[1]), beta)
    if law is None:
        raise PrimerError("No law with positive terms fits these runs.")
    return law


# --- The runs -------------------------------------------------------------------------------------


def measure(
    model: Any, tokenizer: Tokenizer, world: World, stories: int, asked: int
) -> dict[str, float]:
    """Loss, its distance from the floor with a 95 % interval, and true completions."""
    report = loss_report(model, tokenizer, world, stories)
    true = completion_accuracy(model, tokenizer, world, asked)
    return {
        "loss": round(report.loss.estimate, 5),
        "gap": round(report.gap.estimate, 5),
        "gap_low": round(report.gap.low, 5),
        "gap_high": round(report.gap.high, 5),
        "floor": round(report.floor.estimate, 5),
        "facts": round(true.estimate, 4),
        "facts_low": round(true.low, 4),
        "facts_high": round(true.high, 4),
    }


def run(
    sizes: Iterable[tuple[int, int, int, float]] = SIZES,
    tokens: Sequence[int] = TOKENS,
    stories: int = 30_000,
    test_stories: int = 300,
    asked: int = 300,
    seed: int = 0,
    book_model: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains one model for each size and amount of text, and measures all on the same stories.

    Args:
        sizes: width, blocks, heads and peak learning rate of each.
        tokens: amounts of text.
        stories: to draw the text from (seed 1 of the world), at random: so many that even the
            longest run reads each less than once on average.
        test_stories: whose loss is measured (seed 3).
        asked: stories at whose end the place of a thing is asked.
        seed: of first weights and batches.
        book_model: whether the book's own model is measured too.
        progress: shows a progress bar on stderr.

    Returns:
        The numbers that ``results/scaling.json`` holds.
    """
    world, tokenizer = World(), Tokenizer.book()
    ids = encode_documents(book_texts(world, stories, 1), tokenizer)
    runs = []
    todo = [(size, count) for size in sizes for count in tokens]
    for (width, layers, heads, lr), count in tqdm(todo, disable=not progress, unit="run"):
        config = TransformerConfig(width=width, layers=layers, heads=heads)
        model = Transformer(config, seed)
        steps = max(1, round(count / (BATCH * CONTEXT)))
        history = train(
            model,
            ids,
            ids,
            TrainConfig(
                steps=steps,
                batch_size=BATCH,
                context=CONTEXT,
                lr=lr,
                warmup=min(50, steps // 5),
                seed=seed,
                document_start=tokenizer.end_id,
                valid_every=steps,
                valid_windows=1,
            ),
        )
        runs.append(
            {"parameters": model.num_parameters(), "tokens": history.tokens, "lr": lr}
            | measure(model, tokenizer, world, test_stories, asked)
        )
    results: dict[str, Any] = {
        "experiment": "scaling",
        "date": date.today().isoformat(),
        "seed": seed,
        "batch": BATCH,
        "context": CONTEXT,
        "test_stories": test_stories,
        "runs": runs,
    }
    if book_model:
        model, _ = load_book_model()
        results["book_model"] = {"parameters": model.num_parameters()} | measure(
            model, tokenizer, world, test_stories, asked
        )
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("scaling", run, __doc__, arguments)


if __name__ == "__main__":
    main()
