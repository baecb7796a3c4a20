"""Chapter 11 of Volume I: the book's model, paid for stories without a mistake.

The world can check any story. First the model writes many stories as it is. Then two copies learn
from the check, with the same number of attempts: one imitates its own stories that passed (expert
iteration), the other is also pushed away from those that failed (policy gradient with the group as
its yardstick). Each writes as many stories again. Every pool is asked how many are without mistake,
how long they are, where in a story the mistakes are made, how different the sentences are at the
same places, and for how many of some goals, such as "in the end Tom has the trumpet", it holds a
story. Whatever is compared has an interval, from stories drawn again out of the pools.

    python -m llm_primer.experiments.checked

takes about eight minutes on one core and writes ``results/checked.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from tqdm import tqdm

from llm_primer.attempts import coverage, group_advantages, pass_at_n
from llm_primer.autograd import Array
from llm_primer.evaluation import next_token_logits, sentences
from llm_primer.experiments import store
from llm_primer.finetune import Example, answer_log_probs, fine_tune
from llm_primer.information import entropy
from llm_primer.nn import softmax_array
from llm_primer.optim import AdamW, clip_grad_norm
from llm_primer.sampling import generate_many
from llm_primer.training import document_log_probs
from llm_primer.transformer import load_book_model
from llm_primer.world import PEOPLE, THINGS, Story, World

ATTEMPTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def write(model: Any, tokenizer: Any, n: int, seed: int) -> list[tuple[int, ...]]:
    """Some stories as token ids, n of them, each with its ``<|end|>``."""
    room = model.config.context - 1
    texts: list[tuple[int, ...]] = []
    while len(texts) < n:
        some = min(256, n - len(texts))
        drawn = generate_many(
            model, [tokenizer.end_id], some, room, seed=seed + len(texts), stop=tokenizer.end_id
        )
        texts += [(*ids, tokenizer.end_id) for ids in drawn]
    return texts


def check(text: str, world: World) -> tuple[int, Story | None]:
    """How many sentences are possible from the beginning, and the story if it has no mistake."""
    story = world.possible(text)
    n = len(story.sentences)
    over = n == len(sentences(text)) and story.events[-1].kind == "close"
    return n, story if over else None


def verdicts(texts: Sequence[tuple[int, ...]], tokenizer: Any, world: World) -> list[Any]:
    """What `check` says of each text (without its ``<|end|>``)."""
    return [check(tokenizer.decode(list(ids[:-1])), world) for ids in texts]


def goals(found: Sequence[Any]) -> Array:
    """Which goals each story reaches, (n, goals): without mistake, a person has a thing at the end.

    The goals are all pairs of a person and a thing, person by person; a story with a mistake
    reaches none.
    """
    people, things = list(PEOPLE), list(THINGS)
    reached = np.zeros((len(found), len(people) * len(things)), bool)
    for row, (_, story) in zip(reached, found, strict=True):
        if story is not None:
            for thing, _, where in story.state.things:
                if where in PEOPLE:
                    row[people.index(where) * len(things) + things.index(thing)] = True
    return reached


def outcomes(
    texts: Sequence[tuple[int, ...]], found: Sequence[Any], tokenizer: Any
) -> tuple[Array, Array]:
    """How many sentences each story has, (n,), and at which it went wrong, (n,); 0 for at none.

    A story that breaks off without being over went wrong at its last sentence.
    """
    lengths = np.array([len(sentences(tokenizer.decode(list(ids[:-1])))) for ids in texts])
    wrong = [
        0 if story else min(possible + 1, length)
        for (possible, story), length in zip(found, lengths, strict=True)
    ]
    return lengths, np.array(wrong)


def slips(lengths: Array, wrong: Array, longest: int) -> Array:
    """The chance to go wrong at the 1st, 2nd, ... sentence for a story that is right so far.

    Beyond the last sentence that the model ever wrote, it is taken to be as at that one.
    """
    chances = np.zeros(longest)
    for i in range(1, longest + 1):
        # A story gets as far as sentence i if it has that many and was right until then.
        there = (lengths >= i) & ((wrong == 0) | (wrong >= i))
        chances[i - 1] = (wrong[there] == i).mean() if there.any() else chances[i - 2]
    return chances


def mixed(care: tuple[Array, Array], lengths: Array) -> float:
    """The share of right stories of some lengths, were their sentences written with other care.

    Args:
        care: (n,) lengths and (n,) first mistakes of the stories that show how often each sentence
            goes wrong.
        lengths: (m,) of the stories that are to be written.
    """
    chances = slips(*care, int(lengths.max()))
    return float(np.cumprod(1 - chances)[lengths - 1].mean())


def describe(
    model: Any, tokenizer: Any, world: World, n: int, seed: int
) -> tuple[dict[str, Any], list[tuple[int, ...]], list[Any]]:
    """Lets a model write n stories; what they are like, the stories, and their verdicts.

    Two measures of variety do not depend on how long the stories are: ``different``, the share of
    different ones among equally many sentences at the second to fifth places, and ``entropy``, the
    mean over the next tokens of 60 stories of the world, the same for every model.
    """
    texts = write(model, tokenizer, n, seed)
    found = verdicts(texts, tokenizer, world)
    right = np.array([story is not None for _, story in found])
    judged = sum(possible + (story is None) for possible, story in found)
    lengths, _ = outcomes(texts, found, tokenizer)
    told = [s for ids in texts for s in sentences(tokenizer.decode(list(ids[:-1])))[1:5]]
    told = told[: 3 * n]
    same = [story.text for story in world.stories(60, 3)]
    odds = softmax_array(next_token_logits(model, tokenizer, same)[0].astype(np.float64))
    counts = goals(found).sum(axis=0)
    sizes = [n_attempts for n_attempts in ATTEMPTS if n_attempts <= n // 2]
    return (
        {
            "right": round(float(right.mean()), 4),
            "sentence": round(sum(possible for possible, _ in found) / judged, 4),
            "written": round(float(lengths.mean()), 3),
            "by_length": {
                str(k): [int((lengths == k).sum()), int(right[lengths == k].sum())]
                for k in np.unique(lengths)
            },
            "different": round(len(set(told)) / len(told), 4),
            "entropy": round(float(np.mean([entropy(p) for p in odds])), 4),
            "goals_met": int((counts > 0).sum()),
            "attempts": sizes,
            "coverage": [
                round(float(np.mean([pass_at_n(n, int(c), k) for c in counts])), 4) for k in sizes
            ],
        },
        texts,
        found,
    )


def again(n: int, draws: int, seed: int) -> Array:
    """Numbers of stories drawn again from a pool, (draws, n); the first row is the pool itself."""
    drawn = np.random.default_rng(seed).integers(0, n, (draws, n))
    drawn[0] = np.arange(n)
    return drawn


def interval(values: Array) -> list[float]:
    """The first value, and between which ones 95 percent of the others lie."""
    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (values[0],) * 2
    return [round(float(v), 4) for v in (values[0], low, high)]


def compare(
    old: tuple[Array, Array, Array], new: tuple[Array, Array, Array], draws: int, seed: int
) -> dict[str, Any]:
    """What a trained model gained over the one before, and in what way; with intervals.

    Args:
        old: lengths, first mistakes and goals of the stories of the model before (`outcomes`,
            `goals`).
        new: the same of the trained model.
        draws: how often the pools are drawn again.
        seed: of these draws.

    Returns:
        ``right`` of the new model; ``lengths only`` and ``care only``, the share of right stories
        if it had changed only in one way (`mixed`); ``neither``, the same sum for the old model;
        ``lead``, for each number of attempts how many times as many goals it reaches; ``even``,
        how many it would be if every goal had become likelier by the same factor.
    """
    rows: dict[str, list[Any]] = {k: [] for k in ("right", "lengths only", "care only", "neither")}
    leads, evens = [], []
    n = len(old[0])
    sizes = np.array([k for k in ATTEMPTS if k <= n // 2])
    fair = np.array([[pass_at_n(n, c, int(k)) for k in sizes] for c in range(n + 1)])
    for a, b in zip(again(n, draws, seed), again(n, draws, seed + 1), strict=True):
        (length_a, wrong_a, goals_a), (length_b, wrong_b, goals_b) = (
            tuple(part[rows_] for part in pool) for pool, rows_ in ((old, a), (new, b))
        )
        rows["right"].append((wrong_b == 0).mean())
        rows["lengths only"].append(mixed((length_a, wrong_a), length_b))
        rows["care only"].append(mixed((length_b, wrong_b), length_a))
        rows["neither"].append(mixed((length_a, wrong_a), length_a))
        met_a, met_b = goals_a.sum(axis=0), goals_b.sum(axis=0)
        leads.append(fair[met_b].mean(axis=0) / np.maximum(fair[met_a].mean(axis=0), 1e-9))
        chance = met_a[:, None] / n
        likelier = np.minimum(1, chance * leads[-1][0])
        evens.append(
            coverage(likelier, sizes).mean(axis=0)
            / np.maximum(coverage(chance, sizes).mean(axis=0), 1e-9)
        )
    return {
        **{key: interval(np.array(values)) for key, values in rows.items()},
        "lead": [interval(column) for column in np.array(leads).T],
        "even": [interval(column) for column in np.array(evens).T],
    }


def imitate(
    model: Any, tokenizer: Any, world: World, rounds: int, stories: int, steps: int, seed: int
) -> list[float]:
    """Expert iteration, in place: write, keep what passes, learn it, again. The shares passed."""
    shares = []
    for i in range(rounds):
        texts = write(model, tokenizer, stories, seed + 1000 * i)
        found = verdicts(texts, tokenizer, world)
        kept = [
            Example((tokenizer.end_id,), ids)
            for ids, (_, story) in zip(texts, found, strict=True)
            if story is not None
        ]
        shares.append(round(len(kept) / stories, 4))
        if kept:
            fine_tune(model, kept, steps=steps, batch_size=16, lr=3e-4, seed=seed + i)
    return shares


def reinforce(
    model: Any, tokenizer: Any, world: World, updates: int, group: int, lr: float, seed: int
) -> list[float]:
    """Policy gradient, in place: each story's log-probability, weighted by its advantage.

    Every group of stories is used for one update, so that the ratio of new and old probability in
    GRPO's objective is 1 and its clipping never acts; there is no leash.
    """
    optimizer = AdamW(model.parameters(), weight_decay=0.0)
    shares = []
    for i in range(updates):
        texts = write(model, tokenizer, group, seed + 1000 * i)
        found = verdicts(texts, tokenizer, world)
        reward = np.array([story is not None for _, story in found], float)
        shares.append(round(float(reward.mean()), 4))
        advantages = group_advantages(reward)
        if not advantages.any():
            continue
        optimizer.zero_grad()
        examples = [Example((tokenizer.end_id,), ids) for ids in texts]
        weights = (advantages / sum(len(ids) for ids in texts)).astype(np.float32)
        loss = -(answer_log_probs(model, examples) * weights).sum()
        loss.backward()
        clip_grad_norm(optimizer.tensors, 1.0)
        optimizer.step(lr * min(1.0, (i + 1) / 5))
    return shares


def first_of(n: int, pool: int) -> Array:
    """The chance (pool,) that the story of rank 0, 1, ... is the best of n drawn from a pool."""
    chances = np.zeros(pool)
    chances[0] = n / pool
    for rank in range(pool - n):
        chances[rank + 1] = chances[rank] * (pool - rank - n) / (pool - 1 - rank)
    return chances


def by_confidence(
    texts: Sequence[tuple[int, ...]],
    found: Sequence[Any],
    scores: Array,
    sizes: Sequence[int],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """The best of n, if the model's own mean log-probability per token is the checker.

    Returns:
        For each n how often the chosen story has no mistake, with interval, and how many tokens it
        has.
    """
    right = np.array([story is not None for _, story in found])
    lengths = np.array([len(ids) for ids in texts])
    pool = len(texts)
    chances = np.array([first_of(n, pool) for n in sizes])
    ranked = []
    for rows in again(pool, draws, seed):
        ranked.append(rows[np.argsort(-scores[rows], kind="stable")])
    shares = np.array([chances @ right[rows] for rows in ranked])
    return {
        "right": [interval(column) for column in shares.T],
        "tokens": [round(float(v), 1) for v in chances @ lengths[ranked[0]]],
    }


def run(
    pool: int = 4096,
    rounds: int = 5,
    stories: int = 512,
    steps: int = 30,
    updates: int = 40,
    group: int = 64,
    lr: float = 2e-4,
    draws: int = 400,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes, checks, learns, writes again.

    Args:
        pool: how many stories each model writes to be measured.
        rounds: of expert iteration.
        stories: written in each round.
        steps: updates of each round.
        updates: of the policy gradient.
        group: stories written for each of these.
        lr: of the policy gradient.
        draws: how often the pools are drawn again for an interval.
        seed: of everything.
        progress: shows a progress bar on stderr.

    Returns:
        The numbers that ``results/checked.json`` holds.
    """
    world = World()
    results: dict[str, Any] = {}
    bar = tqdm(total=3, disable=not progress, unit="model")
    base, tokenizer = load_book_model()
    results["before"], texts, found = describe(base, tokenizer, world, pool, seed)
    decoded = [tokenizer.decode(list(ids[:-1])) for ids in texts]
    scores = np.array([s.mean() for s in document_log_probs(base, decoded, tokenizer)])
    sizes = [n for n in ATTEMPTS[:7] if n <= pool]
    confidence = by_confidence(texts, found, scores, sizes, draws, seed)
    before = (*outcomes(texts, found, tokenizer), goals(found))
    bar.update()

    gains = {}
    for name in ("imitation", "gradient"):
        model, _ = load_book_model()
        if name == "imitation":
            shares = imitate(model, tokenizer, world, rounds, stories, steps, seed + 10_000_000)
        else:
            shares = reinforce(model, tokenizer, world, updates, group, lr, seed + 20_000_000)
        described, texts, found = describe(model, tokenizer, world, pool, seed)
        results[name] = {**described, "shares": shares}
        after = (*outcomes(texts, found, tokenizer), goals(found))
        gains[name] = compare(before, after, draws, seed)
        bar.update()
    bar.close()
    return {
        "experiment": "checked",
        "date": date.today().isoformat(),
        "seed": seed,
        "pool": pool,
        "rounds": rounds,
        "stories": stories,
        "updates": updates,
        "group": group,
        "goals": len(PEOPLE) * len(THINGS),
        "sizes": sizes,
        "confidence": confidence,
        "models": results,
        "gains": gains,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("checked", run, __doc__, arguments)


if __name__ == "__main__":
    main()
