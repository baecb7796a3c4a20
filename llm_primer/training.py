"""The training loop: batches, one step after the other, validation, checkpoints, history.

A run is a pure function of its configuration, its data and its seed. The batch of step s is drawn
by a generator seeded with (seed, s), so a run that was interrupted and resumed from its checkpoint
sees the same batches, and ends with the same weights bit for bit (on the same machine and the same
number of workers: other hardware adds the same numbers in another order).
"""

from __future__ import annotations

import copy
import ctypes
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from llm_primer.autograd import Array, no_grad
from llm_primer.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from llm_primer.errors import PrimerError
from llm_primer.nn import cross_entropy, token_log_probs
from llm_primer.optim import AdamW, clip_grad_norm, cosine_schedule
from llm_primer.transformer import WEIGHTS, Transformer, TransformerConfig, save_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llm_primer.tokenizer import Tokenizer
    from llm_primer.world import World


@dataclass(frozen=True)
class TrainConfig:
    """What a run does.

    Attributes:
        steps: the number of updates.
        batch_size: B, windows per update.
        context: T, predictions per window.
        lr: the peak learning rate.
        final_lr: the last learning rate, as a share of the peak.
        warmup: steps of the rise to the peak.
        weight_decay, beta1, beta2: AdamW's.
        clip: the longest gradient allowed.
        seed: of the order of batches.
        document_start: if given, every window starts with this token: a document is then never
            read without its beginning. If None, windows start anywhere.
        valid_every: steps between validations; the last step always validates.
        valid_windows: how many windows a validation reads, spread evenly; the same ones every time.
        checkpoint_every: steps between checkpoints.
        workers: into how many parts a batch is cut, each for a thread of its own (see
            `batch_gradient`). One for each core makes a step fastest; 1 leaves the cores to the
            matrix products.
    """

    steps: int = 1000
    batch_size: int = 16
    context: int = 256
    lr: float = 3e-3
    final_lr: float = 0.05
    warmup: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    seed: int = 0
    document_start: int | None = None
    valid_every: int = 250
    valid_windows: int = 64
    checkpoint_every: int = 500
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "context", "valid_every", "valid_windows", "workers"):
            if getattr(self, name) < 1:
                raise PrimerError(f"A run's {name} must be at least 1.")
        if self.workers > self.batch_size:
            raise PrimerError(
                f"{self.workers} workers cannot share a batch of {self.batch_size} windows."
            )
        if not self.lr > 0:
            raise PrimerError("A run's lr must be above 0.")


@dataclass
class History:
    """What happened in a run.

    Attributes:
        step, loss, grad_norm, lr: one entry per update: its number, the training loss before it in
            nats per token, the gradient's length before clipping, the learning rate.
        valid_step, valid_loss: the validations: after how many updates, nats per token.
        seconds: wall time of the updates, all sessions of the run together.
        tokens: predictions trained on.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    valid_step: list[int] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    seconds: float = field(default=0.0, compare=False)
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Reads a history from a JSON file.

        Raises:
            PrimerError: there is no such file, or it is no history.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise PrimerError(f"{path} is not a training history.") from None

    def save(self, path: str | Path) -> None:
        """Writes the history as a JSON file, all or nothing."""
        write_atomically(path, (json.dumps(self.to_dict()) + "\n").encode())

    def downsample(self, points: int) -> History:
        """At most ``points`` entries per curve, means of equal runs of steps; all validations."""
        run = max(1, math.ceil(len(self.step) / points))

        def means(values: Sequence[float]) -> list[float]:
            groups = [values[i : i + run] for i in range(0, len(values), run)]
            return [round(sum(group) / len(group), 6) for group in groups]

        return History(
            step=self.step[run - 1 :: run] + ([self.step[-1]] if len(self.step) % run else []),
            loss=means(self.loss),
            grad_norm=means(self.grad_norm),
            lr=means(self.lr),
            valid_step=self.valid_step,
            valid_loss=[round(v, 6) for v in self.valid_loss],
            seconds=round(self.seconds, 1),
            tokens=self.tokens,
        )


# --- Data ---------------------------------------------------------------------------------------


def window_starts(ids: Array, context: int, document_start: int | None) -> Array:
    """Where in ids (n,) a window of ``context`` + 1 tokens may start.

    Raises:
        PrimerError: nowhere; the text is too short.
    """
    last = len(ids) - context - 1
    if document_start is None:
        starts = np.arange(max(last + 1, 0))
    else:
        starts = np.flatnonzero(ids[: max(last + 1, 0)] == document_start)
    if not len(starts):
        raise PrimerError(
            f"A text of {len(ids)} tokens has no window of {context + 1} tokens to learn from."
        )
    return starts


def windows(ids: Array, starts: Array, context: int) -> tuple[Array, Array]:
    """Inputs and targets, both (B, T): the windows at ``starts`` (B,), and one token later."""
    rows = ids[np.asarray(starts)[:, None] + np.arange(context + 1)]
    return rows[:, :-1], rows[:, 1:]


def encode_documents(texts: Sequence[str], tokenizer: Tokenizer) -> Array:
    """Documents as one line of tokens, each preceded by ``<|end|>``, and one more at the end."""
    ids: list[int] = []
    for text in texts:
        ids.append(tokenizer.end_id)
        ids.extend(tokenizer.encode(text))
    ids.append(tokenizer.end_id)
    return np.array(ids, dtype=np.int32)


# --- Measuring ----------------------------------------------------------------------------------


def evaluate(
    model: Any,
    ids: Array,
    context: int,
    document_start: int | None = None,
    max_windows: int = 64,
    batch_size: int = 16,
) -> float:
    """The mean loss over windows of ids (n,), in nats per token.

    The windows are ``max_windows`` of the allowed ones (all, if there are fewer), evenly spread.
    """
    starts = window_starts(ids, context, document_start)
    chosen = starts[np.linspace(0, len(starts) - 1, min(max_windows, len(starts))).astype(int)]
    total = 0.0
    with no_grad():
        for i in range(0, len(chosen), batch_size):
            x, y = windows(ids, chosen[i : i + batch_size], context)
            total += cross_entropy(model(x), y).item() * len(x)
    return total / len(chosen)


def document_log_probs(
    model: Any, texts: Sequence[str], tokenizer: Tokenizer, batch_size: int = 16
) -> list[Array]:
    """The log-probabilities of every token of each document, its end included, in nats.

    Each document is read on its own after one ``<|end|>``, so that the sum over a document's tokens
    is ln p(document), comparable with the world's exact value.

    Raises:
        PrimerError: a document is longer than the model's context.
    """
    rows = [[tokenizer.end_id, *tokenizer.encode(text), tokenizer.end_id] for text in texts]
    scores: list[Array] = [np.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # equal lengths waste no padding
    with no_grad():
        for at in range(0, len(order), batch_size):
            batch = order[at : at + batch_size]
            longest = max(len(rows[i]) for i in batch)
            padded = np.full((len(batch), longest), -1)
            for row, i in enumerate(batch):
                padded[row, : len(rows[i])] = rows[i]
            x, y = np.maximum(padded[:, :-1], 0), padded[:, 1:]
            found = token_log_probs(model(x), y).data
            for row, i in enumerate(batch):
                scores[i] = found[row, : len(rows[i]) - 1].astype(np.float64)
    return scores


# --- The loop -----------------------------------------------------------------------------------


def keep_freed_memory() -> None:
    """Asks the C library to reuse freed memory instead of handing it back to the system.

    A step frees and asks for the same few hundred megabytes again and again; getting them from the
    system anew, page by page, costs a third of the time. Only glibc knows the request; elsewhere
    this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_TRIM_THRESHOLD and so on in <malloc.h>
    mallopt(arena_max, 1)  # the arenas of further threads do give memory back
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


@contextmanager
def gradient_workers(
    model: Any, optimizer: AdamW, workers: int
) -> Iterator[list[tuple[Any, Array]]]:
    """Copies of a model for `batch_gradient`: pairs of a model and its flat gradient.

    The first is the model itself; the others share its parameters, and so follow every update. As
    long as the context lasts, a matrix product keeps to one thread where there are several workers,
    since each of them already has a core to itself.
    """
    copies = [(model, optimizer.grad)]
    for _ in range(workers - 1):
        other = copy.deepcopy(model)
        copies.append((other, optimizer.share(other.parameters())))
    with threadpool_limits(1 if workers > 1 else None, "blas"):
        yield copies


def batch_gradient(
    workers: Sequence[tuple[Any, Array]], pool: ThreadPoolExecutor, x: Array, y: Array
) -> float:
    """The loss of a batch and its gradient, which is left in the first worker's array.

    Data parallelism: the loss is a mean over windows, so its gradient is the mean of the gradients
    of parts of the batch, weighted by their sizes. Each worker computes one part at the same time
    as the others (NumPy lets go of Python's lock while it computes), and the sums are added up in
    the workers' order, so that the result does not depend on who is done first.

    Args:
        workers: from `gradient_workers`.
        pool: with as many threads.
        x: inputs (B, T).
        y: targets (B, T).

    Returns:
        The mean loss in nats per token.
    """

    def part(worker: tuple[Any, Array], x: Array, y: Array) -> float:
        model, grad = worker
        grad.fill(0)
        loss = cross_entropy(model(x), y)
        share = len(x) / batch
        loss.backward(np.full_like(loss.data, share))
        return share * loss.item()

    batch, n = len(x), len(workers)
    if n == 1:
        return part(workers[0], x, y)
    losses = list(pool.map(part, workers, np.array_split(x, n), np.array_split(y, n)))
    total = workers[0][1]
    for _, grad in workers[1:]:
        total += grad
    return sum(losses)


def train(
    model: Any,
    ids_train: Array,
    ids_valid: Array,
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> History:
    """Trains a language model in place.

    Args:
        model: anything that maps ids (B, T) to logits (B, T, V) and has ``parameters()``.
        ids_train: the training text as one line of tokens (n,).
        ids_valid: the validation text likewise.
        config: what to do.
        folder: where ``latest.safetensors`` (weights, optimizer, history: enough to go on) and
            ``best.safetensors`` (the weights with the lowest validation loss) are kept; None for
            nowhere.
        resume: goes on from ``latest.safetensors`` if there is one.
        progress: shows a progress bar on stderr.

    Returns:
        The history of the whole run.

    Raises:
        PrimerError: the loss is no longer a finite number (the weights are then those before that
            step), the text is too short, or the checkpoint is damaged or of another run.
    """
    keep_freed_memory()
    starts = window_starts(ids_train, config.context, config.document_start)
    optimizer = AdamW(
        model.parameters(),
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )
    history = History()
    latest = best = None
    if folder is not None:
        folder = Path(folder)
        latest, best = folder / "latest.safetensors", folder / "best.safetensors"
        if resume and latest.exists():
            history = _restore(latest, model, optimizer, config)
    first = len(history.step)
    with (
        gradient_workers(model, optimizer, config.workers) as workers,
        ThreadPoolExecutor(config.workers) as pool,
    ):
        bar = tqdm(
            range(first, config.steps),
            initial=first,
            total=config.steps,
            disable=not progress,
            unit="step",
            mininterval=1.0,
        )
        for step in bar:
            began = time.perf_counter()
            rng = np.random.default_rng((config.seed, step))
            x, y = windows(ids_train, rng.choice(starts, config.batch_size), config.context)
            loss = batch_gradient(workers, pool, x, y)
            norm = clip_grad_norm(optimizer.tensors, config.clip)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise PrimerError(
                    f"The loss at step {step + 1} is {loss} with a gradient of length {norm}: "
                    "training stopped; a lower learning rate may help."
                )
            lr = cosine_schedule(
                step,
                peak=config.lr,
                total=config.steps,
                warmup=config.warmup,
                floor=config.lr * config.final_lr,
            )
            optimizer.step(lr)
            history.step.append(step + 1)
            history.loss.append(loss)
            history.grad_norm.append(norm)
            history.lr.append(lr)
            history.seconds += time.perf_counter() - began
            history.tokens += y.size

            done = step + 1
            if done % config.valid_every == 0 or done == config.steps:
                value = evaluate(
                    model, ids_valid, config.context, config.document_start, config.valid_windows
                )
                if best is not None and value < min(history.valid_loss, default=math.inf):
                    save_model(best, model, {"step": done, "valid_loss": value})
                history.valid_step.append(done)
                history.valid_loss.append(value)
                bar.set_postfix(loss=f"{loss:.3f}", valid=f"{value:.3f}")
            if latest is not None and (done % config.checkpoint_every == 0 or done == config.steps):
                _store(latest, model, optimizer, config, history)
    return history


def _store(path: Path, model: Any, optimizer: AdamW, config: TrainConfig, history: History) -> None:
    arrays = dict(model.arrays())
    arrays.update({f"optimizer.{name}": array for name, array in optimizer.state().items()})
    metadata = {
        "kind": model.kind,
        "config": model.config.to_dict(),
        "train": asdict(config),
        "history": history.to_dict(),
    }
    save_checkpoint(path, arrays, metadata)


def _restore(path: Path, model: Any, optimizer: AdamW, config: TrainConfig) -> History:
    arrays, metadata = load_checkpoint(path)
    if metadata.get("train") != asdict(config) or metadata.get("config") != model.config.to_dict():
        raise PrimerError(f"{path} comes from a run with other settings; it cannot be resumed.")
    prefix = "optimizer."
    model.load_arrays({k: v for k, v in arrays.items() if not k.startswith(prefix)})
    optimizer.load_state(
        {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    )
    return History(**metadata["history"])


# --- The book's model ---------------------------------------------------------------------------

BOOK_STORIES = 120_000  # seed 1; some 10 million tokens, of which the run reads each about twice
BOOK_VALID_STORIES = 2_000  # seed 2
BOOK_STEPS = 5_500
BOOK_LR = 4e-3
BOOK_WORKERS = 2


def book_texts(world: World, stories: int, seed: int, progress: bool = False) -> list[str]:
    """The texts of that many stories: seed 1 is for training, 2 for validation, 3 for testing."""
    rng = np.random.default_rng(seed)
    numbers = tqdm(range(stories), disable=not progress, unit="story", desc=f"stories {seed}")
    return [world.story(rng).text for _ in numbers]


def train_book_model(
    folder: str | Path,
    *,
    steps: int = BOOK_STEPS,
    stories: int = BOOK_STORIES,
    seed: int = 0,
    workers: int = BOOK_WORKERS,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Trains the model that ships with the book, from the world and the tokenizer alone.

    Writes to ``folder``: ``latest.safetensors`` and ``best.safetensors`` while it runs (see
    `train`); at the end ``story-model.safetensors``, the best weights in float16, and
    ``history.json``.

    Args:
        folder: made if it does not exist.
        steps: updates; the learning rate's curve is stretched to fit.
        stories: stories of the world to train on (seed 1).
        seed: of the first weights and of the order of batches.
        workers: threads that share a step (see `TrainConfig`). The weights that ship were made by
            one; two end with others, because they add the same numbers in another order.
        resume: goes on from the folder's ``latest.safetensors`` if there is one.
        progress: shows progress bars on stderr.

    Raises:
        PrimerError: the folder cannot be made, or as `train`.
    """
    from llm_primer.tokenizer import Tokenizer
    from llm_primer.world import World

    keep_freed_memory()  # once other threads have asked for memory, it comes too late for them
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrimerError(f"Cannot make the folder {folder}: {error.strerror}.") from None
    world, tokenizer = World(), Tokenizer.book()
    ids_train = encode_documents(book_texts(world, stories, 1, progress), tokenizer)
    ids_valid = encode_documents(book_texts(world, BOOK_VALID_STORIES, 2), tokenizer)
    model = Transformer(TransformerConfig(vocab_size=tokenizer.vocab_size), seed)
    config = TrainConfig(
        steps=steps,
        lr=BOOK_LR,
        warmup=min(100, steps // 10),
        seed=seed,
        document_start=tokenizer.end_id,
        valid_windows=128,
        workers=workers,
    )
    history = train(
        model, ids_train, ids_valid, config, folder=folder, resume=resume, progress=progress
    )
    best, metadata = load_checkpoint(folder / "best.safetensors")
    model.load_arrays(best)
    facts = {key: metadata[key] for key in ("step", "valid_loss")}
    save_model(folder / WEIGHTS.name, model, facts, dtype=np.float16)
    history.save(folder / "history.json")
    return history


def plot_history(history: History, floor: float | None = None) -> tuple[Axes, Axes]:
    """Draws the losses and, below, the gradient's length over the steps; returns both axes.

    Args:
        history: of a run, whole or downsampled.
        floor: nats per token that no model can beat, drawn as a line if given.
    """
    import matplotlib.pyplot as plt  # only pages draw; the package works without it

    from llm_primer.plotting import COLORS

    _, (top, bottom) = plt.subplots(
        2, 1, sharex=True, height_ratios=(2, 1), layout="constrained", figsize=(6.4, 4.4)
    )
    top.plot(history.step, history.loss, color=COLORS["blue"], lw=1, label="training")
    top.plot(
        history.valid_step, history.valid_loss, color=COLORS["orange"], lw=1.8, label="validation"
    )
    if floor is not None:
        top.axhline(floor, color="black", lw=1, ls="--", label="floor: the world's entropy")
    top.set_ylabel("loss (nats per token)")
    top.legend(frameon=False)
    bottom.plot(history.step, history.grad_norm, color=COLORS["green"], lw=1)
    bottom.set(xlabel="step", ylabel="gradient length", yscale="log")
    return top, bottom
