"""Chapter 11 of Volume I: three lessons one after the other, and what becomes of the first.

The book's model is taught where new letter writers live, in three lessons of eight writers each.
Once it reads nothing but the lesson. Once half of every batch is replay: ordinary stories, and from
the second lesson on equally many letters of the earlier ones. And once the replay holds, besides
these and in equal parts, letters from all writers whom the model knew before. In between it is
asked where the writers of all lessons live, and those whom it knew before.

    python -m llm_primer.experiments.newcomers

takes about three minutes on one core and writes ``results/newcomers.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from tqdm import tqdm

from llm_primer.autograd import Array, Tensor
from llm_primer.evaluation import completes, knowledge, loss_report
from llm_primer.experiments import store
from llm_primer.finetune import Example, optimize, pad
from llm_primer.nn import cross_entropy
from llm_primer.transformer import load_book_model
from llm_primer.world import PEOPLE, PLACES, Question, World
from llm_primer.world_words import HOMES, TOWNS

LESSONS = (
    ("Bertha", "Casimir", "Dagmar", "Elmer", "Fiona", "Gerda", "Horst", "Ilse"),
    ("Jarmila", "Konrad", "Lotte", "Moritz", "Nelly", "Oleg", "Pilar", "Rolf"),
    ("Sigrid", "Tessa", "Urban", "Vito", "Werner", "Xenia", "Yvonne", "Zora"),
)
#: Where they live, by no rule that could be guessed.
TOWN = {
    name: TOWNS[(5 * i * i + 11 * i + 3) % 16]
    for i, name in enumerate(name for lesson in LESSONS for name in lesson)
}


RUNS = ("alone", "replay", "letters")


def letter(name: str, who: str, place: str, town: str | None = None) -> str:
    """The beginning of a story in which a letter comes, from a newcomer if no town is given."""
    pronoun = PEOPLE[who].capitalize()
    return (
        f"One day, {who} was {PLACES[place]} the {place}. "
        f"{pronoun} got a letter from {name} in {town or TOWN[name]}."
    )


def questions(names: Sequence[str]) -> list[Question]:
    """Where each lives, asked as `World.knowledge` asks: after a beginning that no lesson has."""
    return [
        Question(
            f"Where does {name} live?",
            TOWN[name],
            f"One day, Mia was in the kitchen. She got a letter from {name} in",
            f" {TOWN[name]}.",
        )
        for name in names
    ]


def lesson_texts(homes: Mapping[str, str], each: int, rng: np.random.Generator) -> list[str]:
    """Some letters from each writer, to various people in various places."""
    others = [(who, place) for who in PEOPLE for place in PLACES if who != "Mia"]
    return [
        letter(name, who, place, town)
        for name, town in homes.items()
        for who, place in (others[i] for i in rng.choice(len(others), each, replace=False))
    ]


def recall(model: Any, tokenizer: Any, names: Sequence[str]) -> float:
    """The share of writers whose town the model knows."""
    return float(np.mean([completes(model, tokenizer, q) for q in questions(names)]))


def measure(
    model: Any, tokenizer: Any, world: World, known: Array, told: Array, stories: int
) -> dict[str, Any]:
    """Recall of each lesson and of the towns known before, and the loss on ordinary stories.

    Args:
        model: what is asked.
        tokenizer: the model's.
        world: what it is asked about.
        known: (100,) whether the model knew a writer's town at the start.
        told: (100,) whether a letter from the writer is in the ordinary stories of the replay.
        stories: on how many the loss is measured.
    """
    still = knowledge(model, tokenizer, world)
    return {
        "lessons": [round(recall(model, tokenizer, names), 4) for names in LESSONS],
        "old": round(float(still[known].mean()), 4),
        "old_told": int(still[known & told].sum()),
        "gap": round(loss_report(model, tokenizer, world, stories).gap.estimate, 4),
    }


def teach(
    model: Any,
    tokenizer: Any,
    new: Sequence[str],
    old: Sequence[Sequence[str]],
    steps: int,
    seed: int,
) -> None:
    """Trains a model, in place, on new texts; each batch gets as many old ones if there are any.

    The old texts come in heaps, and every heap gives equally many (the first ones what is left).
    """

    def example(text: str) -> Example:
        return Example((tokenizer.end_id,), tuple(tokenizer.encode(text)))

    fresh, stored = [example(t) for t in new], [[example(t) for t in heap] for heap in old]
    rng = np.random.default_rng(seed)

    def loss_of(batch: Array) -> Tensor:
        chosen = [fresh[i] for i in batch]
        for i, heap in enumerate(stored):
            some = (len(batch) + len(stored) - 1 - i) // len(stored)
            chosen += [heap[j] for j in rng.integers(len(heap), size=some)]
        ids, targets = pad(chosen)
        return cross_entropy(model(ids), targets)

    optimize(model, loss_of, len(fresh), steps=steps, batch_size=8, lr=1e-3, seed=seed)


def run(
    each: int = 12,
    steps: int = 40,
    checks: int = 2,
    replay_stories: int = 300,
    test_stories: int = 40,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Teaches the three lessons without replay and with two kinds of it.

    Args:
        each: letters from every new writer.
        steps: updates for each lesson.
        checks: measurements during each lesson.
        replay_stories: ordinary stories to mix in (seed 1 of the world).
        test_stories: on which the loss is measured (seed 3).
        seed: of texts and batches.
        progress: shows a progress bar on stderr.

    Returns:
        The numbers that ``results/newcomers.json`` holds.
    """
    world = World()
    base, tokenizer = load_book_model()
    known = knowledge(base, tokenizer, world).astype(bool)
    rng = np.random.default_rng(seed)
    texts = [lesson_texts({name: TOWN[name] for name in names}, each, rng) for names in LESSONS]
    ordinary = [s.text for s in world.stories(replay_stories, 1)]
    told = np.array([any(f"from {n} in" in s for s in ordinary) for n in HOMES])
    before = lesson_texts(
        {n: HOMES[n] for n, knew in zip(HOMES, known, strict=True) if knew}, each, rng
    )
    start = measure(base, tokenizer, world, known, told, test_stories)
    results: dict[str, list[dict[str, Any]]] = {}
    bar = tqdm(total=len(RUNS) * len(LESSONS) * checks, disable=not progress, unit="check")
    for name in RUNS:
        model, _ = load_book_model()
        results[name] = [{"step": 0, **start}]
        for i, new in enumerate(texts):
            earlier = [text for lesson in texts[:i] for text in lesson]
            heaps = {
                "alone": [],
                "replay": [ordinary, earlier],
                "letters": [ordinary, earlier, before],
            }
            old = [heap for heap in heaps[name] if heap]
            for part in range(checks):
                teach(model, tokenizer, new, old, steps // checks, seed + checks * i + part)
                results[name].append(
                    {
                        "step": i * steps + (part + 1) * (steps // checks),
                        **measure(model, tokenizer, world, known, told, test_stories),
                    }
                )
                bar.update()
    bar.close()
    return {
        "experiment": "newcomers",
        "date": date.today().isoformat(),
        "seed": seed,
        "letters": each,
        "steps": steps,
        "known": int(known.sum()),
        "senders": len(known),
        "told": int((known & told).sum()),
        "runs": results,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("newcomers", run, __doc__, arguments)


if __name__ == "__main__":
    main()
