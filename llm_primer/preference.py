"""Learning from comparisons: reward models, and direct preference optimization (DPO).

People find it easier to say which of two answers is better than to write the best one. The model of
Bradley and Terry (1952) turns such comparisons into numbers: each answer has a reward, and the
probability that y_w is preferred to y_l is σ(R(x, y_w) - R(x, y_l)). A reward model is fitted to
that (Christiano et al., arXiv:1706.03741; Ouyang et al., arXiv:2203.02155). Rafailov et al.
(arXiv:2305.18290) showed that the language model itself can stand in for the reward model, since
the policy that is best for a reward R under a KL leash of strength β satisfies

    R(x, y) = β ln(π(y | x) / π_ref(y | x)) + a term in x alone,

and the term in x alone cancels in a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad, sigmoid
from llm_primer.finetune import Example, answer_log_probs, optimize, question_example
from llm_primer.nn import Linear, Module, embedding, log_sigmoid


@dataclass(frozen=True)
class Pair:
    """A prompt x with the preferred answer y_w and the other one y_l, as token ids."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def preference_probability(chosen: Array | float, rejected: Array | float) -> Array:
    """The Bradley–Terry probability σ(R_w - R_l) that the first of two rewards is preferred."""
    return sigmoid(np.asarray(chosen, np.float64) - np.asarray(rejected, np.float64))


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """The mean of -ln σ(R_w - R_l) over comparisons (Ouyang et al., arXiv:2203.02155, eq. 1).

    Args:
        chosen: (B,) rewards of the preferred answers.
        rejected: (B,) rewards of the others.

    Returns:
        One number; ln 2 where the rewards say nothing.
    """
    return -log_sigmoid(chosen - rejected).mean()


def implicit_reward(log_probs: Array, reference_log_probs: Array, beta: float) -> Array:
    """β (ln π(y | x) - ln π_ref(y | x)), the reward that a policy stands for, up to a term in x."""
    return beta * (log_probs - reference_log_probs)


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Array,
    reference_rejected: Array,
    beta: float,
) -> Tensor:
    """The loss of Rafailov et al. (arXiv:2305.18290, eq. 7): Bradley–Terry on implicit rewards.

    Args:
        chosen: (B,) ln π(y_w | x) under the model in training, in nats.
        rejected: (B,) ln π(y_l | x).
        reference_chosen: (B,) ln π_ref(y_w | x) under the fixed model.
        reference_rejected: (B,) ln π_ref(y_l | x).
        beta: β, the strength of the leash to the reference.

    Returns:
        One number; ln 2 as long as the model is the reference.
    """
    return bradley_terry_loss(
        (chosen - reference_chosen) * beta, (rejected - reference_rejected) * beta
    )


def truth_pairs(world: Any, tokenizer: Any, n_stories: int, seed: int) -> list[Pair]:
    """Comparisons for the page-sized task: the true answer to a question beside a false one.

    The false answer is true of another question of the same kind (one that begins with the same
    word), so that only the story tells the two apart. Prompts are those of
    `finetune.question_examples`.

    Args:
        world: tells the stories.
        tokenizer: encodes them.
        n_stories: how many; all questions about each are used.
        seed: of the stories and of the choice of false answers.
    """
    asked = [
        (story, question)
        for story in world.stories(n_stories, seed)
        for question in world.questions(story)
    ]
    answers: dict[str, list[str]] = {}
    for _, question in asked:
        answers.setdefault(question.text.split()[0], []).append(question.answer)
    rng = np.random.default_rng(seed)
    pairs = []
    for story, question in asked:
        others = [a for a in answers[question.text.split()[0]] if a != question.answer]
        if others:
            true = question_example(tokenizer, story.text, question.text, question.answer)
            wrong = others[rng.integers(len(others))]
            false = question_example(tokenizer, story.text, question.text, wrong)
            pairs.append(Pair(true.prompt, true.answer, false.answer))
    return pairs


# --- DPO ------------------------------------------------------------------------------------------


@dataclass
class DPOHistory:
    """What happened in a run of `train_dpo`, one entry per update, each before the update.

    Attributes:
        loss: of the batch; ln 2 at first.
        accuracy: the share of pairs whose preferred answer has the higher implicit reward.
        margin: the mean difference of the implicit rewards.
        chosen, rejected: the mean of ln π - ln π_ref for preferred and other answers, in nats. Both
            may fall: only their difference is trained.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    chosen: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)


def pair_log_probs(model: Any, pairs: Sequence[Pair], batch_size: int = 32) -> Array:
    """Log-probabilities of preferred and other answers, (n, 2), in nats, without a graph."""
    rows = []
    with no_grad():
        for i in range(0, len(pairs), batch_size):
            rows.append(_both(model, pairs[i : i + batch_size]).data.T)
    return np.concatenate(rows)


def _both(model: Any, pairs: Sequence[Pair]) -> Tensor:
    """(2, B) log-probabilities with a graph; both answers go through the model together."""
    examples = [Example(p.prompt, p.chosen) for p in pairs]
    examples += [Example(p.prompt, p.rejected) for p in pairs]
    return answer_log_probs(model, examples).reshape(2, len(pairs))


def train_dpo(
    model: Any,
    pairs: Sequence[Pair],
    *,
    reference: Any = None,
    beta: float = 0.1,
    steps: int = 100,
    batch_size: int = 8,
    lr: float = 5e-4,
    seed: int = 0,
) -> DPOHistory:
    """Trains a model, in place, to prefer the chosen answers.

    The reference's log-probabilities never change, so they are computed once at the beginning.

    Args:
        model: maps ids (B, T) to logits; with LoRA only the detours are trained.
        pairs: comparisons.
        reference: the fixed model π_ref; None for the model as it is before the first update.
        beta: β; the smaller, the further the model may move.
        steps: how many updates.
        batch_size: pairs per update.
        lr: the peak learning rate.
        seed: of the order of the pairs.

    Returns:
        What happened.
    """
    fixed = pair_log_probs(model if reference is None else reference, pairs)
    history = DPOHistory()

    def loss_of(batch: Array) -> Tensor:
        found = _both(model, [pairs[i] for i in batch])
        loss = dpo_loss(found[0], found[1], fixed[batch, 0], fixed[batch, 1], beta)
        moved = found.data - fixed[batch].T
        history.loss.append(loss.item())
        history.accuracy.append(float((moved[0] > moved[1]).mean()))
        history.margin.append(float(beta * (moved[0] - moved[1]).mean()))
        history.chosen.append(float(moved[0].mean()))
        history.rejected.append(float(moved[1].mean()))
        return loss

    optimize(model, loss_of, len(pairs), steps=steps, batch_size=batch_size, lr=lr, seed=seed)
    return history


# --- A reward model -------------------------------------------------------------------------------


class RewardModel(Module):
    """A transformer with one number at its end: R(x, y), read from the last token's vector.

    Stiennon et al. (arXiv:2009.01325) and Ouyang et al. (arXiv:2203.02155) build it this way: the
    language model's body with its vocabulary head replaced by a head of width 1.

    Args:
        body: a `Transformer`; it is trained along, so pass a copy of a model that is still needed.
    """

    def __init__(self, body: Any) -> None:
        self.body = body
        # A head of zeros: all rewards are equal before training, and the first loss is ln 2.
        self.head = Linear(body.config.width, 1, np.random.default_rng(0), bias=False, std=0.0)

    def __call__(self, examples: Sequence[Example]) -> Tensor:
        """(B,) rewards with a graph."""
        rows = [e.prompt + e.answer for e in examples]
        lengths = np.array([len(row) for row in rows])
        ids = np.zeros((len(rows), lengths.max()), np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        x, angles = self.body.start(ids)
        for block in self.body.blocks:
            x = block(x, angles)
        flat = self.body.final_norm(x).reshape(-1, self.body.config.width)
        places = np.arange(len(rows)) * ids.shape[1] + lengths - 1
        return self.head(embedding(flat, places)).reshape(len(rows))

    def rewards(self, examples: Sequence[Example], batch_size: int = 32) -> Array:
        """(n,) rewards as plain numbers."""
        with no_grad():
            parts = [
                self(examples[i : i + batch_size]).data for i in range(0, len(examples), batch_size)
            ]
        return np.concatenate(parts)

    def accuracy(self, pairs: Sequence[Pair]) -> float:
        """The share of pairs whose preferred answer gets the higher reward."""
        chosen = self.rewards([Example(p.prompt, p.chosen) for p in pairs])
        rejected = self.rewards([Example(p.prompt, p.rejected) for p in pairs])
        return float((chosen > rejected).mean())


def train_reward_model(
    reward_model: RewardModel,
    pairs: Sequence[Pair],
    *,
    steps: int = 100,
    batch_size: int = 8,
    lr: float = 5e-4,
    seed: int = 0,
) -> list[float]:
    """Fits a reward model to comparisons, in place, by `bradley_terry_loss`.

    Arguments as for `train_dpo`. Returns the loss before each update.
    """

    def loss_of(batch: Array) -> Tensor:
        some = [pairs[i] for i in batch]
        examples = [Example(p.prompt, p.chosen) for p in some]
        examples += [Example(p.prompt, p.rejected) for p in some]
        rewards = reward_model(examples).reshape(2, len(some))
        return bradley_terry_loss(rewards[0], rewards[1])

    return optimize(
        reward_model, loss_of, len(pairs), steps=steps, batch_size=batch_size, lr=lr, seed=seed
    )
