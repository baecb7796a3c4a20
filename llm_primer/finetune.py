"""Supervised fine-tuning: learning to answer from examples of a prompt and its answer.

The loss is that of pre-training, but only the answer's tokens count: the prompt is given, and the
model is not asked to predict it. The same padded tables serve `llm_primer.preference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.errors import PrimerError
from llm_primer.nn import cross_entropy, token_log_probs
from llm_primer.optim import AdamW, clip_grad_norm, cosine_schedule
from llm_primer.sampling import generate


@dataclass(frozen=True)
class Example:
    """A prompt x and an answer y, as token ids; the answer ends with the token that stops it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def pad(examples: Sequence[Example]) -> tuple[Array, Array]:
    """Examples of different lengths as one table.

    Returns:
        ids (B, T), rows filled up at the end with 0, and targets (B, T): at each position the token
        that follows if it belongs to the answer, else -1, which does not count in the loss. A
        causal model never sees the filling from the positions that count.

    Raises:
        PrimerError: no example, or one with an empty prompt or answer.
    """
    if not examples or any(not e.prompt or not e.answer for e in examples):
        raise PrimerError("Fine-tuning needs examples, each with a prompt and an answer.")
    width = max(len(e.prompt) + len(e.answer) for e in examples) - 1
    ids = np.zeros((len(examples), width), np.int64)
    targets = np.full((len(examples), width), -1)
    for i, e in enumerate(examples):
        whole = e.prompt + e.answer
        ids[i, : len(whole) - 1] = whole[:-1]
        targets[i, len(e.prompt) - 1 : len(whole) - 1] = e.answer
    return ids, targets


def answer_log_probs(model: Any, examples: Sequence[Example]) -> Tensor:
    """The log-probability ln π(y | x) of each example's answer, (B,) in nats, with a graph."""
    ids, targets = pad(examples)
    return token_log_probs(model(ids), targets).sum(axis=1)


def optimize(
    model: Any,
    loss_of: Callable[[Array], Tensor],
    n: int,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    weight_decay: float = 0.0,
    clip: float = 1.0,
) -> list[float]:
    """A short training loop: AdamW with warm-up over a tenth of the steps and a cosine to zero.

    Args:
        model: its ``parameters()`` are trained, in place.
        loss_of: takes the numbers of the examples of a batch, returns the loss.
        n: how many examples there are; they are reshuffled whenever all were used.
        steps: how many updates.
        batch_size: examples per update.
        lr: the peak learning rate.
        seed: of the order of the examples.
        weight_decay: AdamW's.
        clip: the longest gradient allowed.

    Returns:
        The loss before each update.

    Raises:
        PrimerError: there is no example, or the loss is no longer a finite number.
    """
    if n < 1 or batch_size < 1:
        raise PrimerError("Training needs at least one example, and one in a batch.")
    optimizer = AdamW(model.parameters(), weight_decay=weight_decay)
    rng = np.random.default_rng(seed)
    queue = np.empty(0, np.int64)
    losses = []
    for step in range(steps):
        while len(queue) < batch_size:
            queue = np.concatenate([queue, rng.permutation(n)])
        batch, queue = queue[:batch_size], queue[batch_size:]
        optimizer.zero_grad()
        loss = loss_of(batch)
        if not math.isfinite(loss.item()):
            raise PrimerError(f"The loss at step {step + 1} is {loss.item()}; a lower lr may help.")
        loss.backward()
        clip_grad_norm(optimizer.tensors, clip)
        optimizer.step(cosine_schedule(step, peak=lr, total=steps, warmup=max(1, steps // 10)))
        losses.append(loss.item())
    return losses


def fine_tune(
    model: Any,
    examples: Sequence[Example],
    *,
    steps: int = 100,
    batch_size: int = 16,
    lr: float = 2e-3,
    seed: int = 0,
) -> list[float]:
    """Trains a model, in place, to give each example's answer to its prompt.

    With `llm_primer.lora.add_lora` beforehand only the detours change.

    Args:
        model: maps ids (B, T) to logits (B, T, V).
        examples: prompts and answers.
        steps: how many updates.
        batch_size: examples per update.
        lr: the peak learning rate; LoRA takes about ten times that of full fine-tuning.
        seed: of the order of the examples.

    Returns:
        The loss before each update: nats per token of the answers.
    """

    def loss_of(batch: Array) -> Tensor:
        ids, targets = pad([examples[i] for i in batch])
        return cross_entropy(model(ids), targets)

    return optimize(
        model, loss_of, len(examples), steps=steps, batch_size=batch_size, lr=lr, seed=seed
    )


def answer_loss(model: Any, examples: Sequence[Example], batch_size: int = 32) -> float:
    """The mean loss over the answers' tokens of all examples, in nats per token."""
    total = 0.0
    with no_grad():
        for i in range(0, len(examples), batch_size):
            total -= float(answer_log_probs(model, examples[i : i + batch_size]).data.sum())
    return total / sum(len(e.answer) for e in examples)


def exact_match(model: Any, examples: Sequence[Example]) -> Array:
    """Whether the greedy answer to each prompt is exactly the expected one, (n,) of 0.0 and 1.0."""
    hits = []
    for e in examples:
        got = generate(model, e.prompt, len(e.answer), temperature=0)
        hits.append(tuple(got) == e.answer)
    return np.array(hits, dtype=np.float64)


def question_example(tokenizer: Any, story: str, question: str, answer: str) -> Example:
    """A question about a story as a prompt, and its answer.

    Prompt: ``<|end|>``, the story, a line break, the question. Answer: a space, the answer,
    ``<|end|>``.
    """
    prompt = [tokenizer.end_id, *tokenizer.encode(f"{story}\n{question}")]
    return Example(tuple(prompt), (*tokenizer.encode(f" {answer}"), tokenizer.end_id))


def question_examples(world: Any, tokenizer: Any, n_stories: int, seed: int) -> list[Example]:
    """Questions about stories of the world, whose answers are known: the page-sized task.

    Args:
        world: tells the stories.
        tokenizer: encodes them, see `question_example`.
        n_stories: how many; all questions about each are asked.
        seed: of the stories.
    """
    return [
        question_example(tokenizer, story.text, question.text, question.answer)
        for story in world.stories(n_stories, seed)
        for question in world.questions(story)
    ]
