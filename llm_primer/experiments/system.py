"""Chapter 12 of Volume I: the story librarian in its first weeks.

400 visitors each ask about a story they half remember; four versions of the librarian answer the
same requests. The library is compared with the texts that the models learned from. Then the stories
change from week to week, and the surprise of every story is noted beside the answers; every quiet
story is also read in its changed forms, so that the weeks can be drawn again. Last, counted models
learn from what counted models wrote, several times over.

    python -m llm_primer.experiments.system

takes about four minutes on one core and writes ``results/system.json``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from llm_primer.answerer import STORIES as ANSWERER_STORIES
from llm_primer.answerer import load_answerer
from llm_primer.dedup import near_copies, overlap
from llm_primer.evaluation import story_losses
from llm_primer.experiments import store
from llm_primer.librarian import (
    Case,
    Librarian,
    Reader,
    cause,
    make_cases,
    model_reader,
    right,
)
from llm_primer.quantize import quantize_model
from llm_primer.training import BOOK_STORIES
from llm_primer.transformer import Transformer, load_book_model
from llm_primer.world import Question, Story, World
from llm_primer.world_words import SENDERS

if TYPE_CHECKING:
    from llm_primer.tokenizer import Tokenizer

TRAINING_SEED, ANSWERER_SEED = 1, 4  # of the stories that the two models learned from
LIBRARY_SEED, MISSING_SEED, QUIET_SEED, WEEKS_SEED, FIRST_SEED, FRESH_SEED = 21, 22, 23, 24, 31, 32
#: What the changed world calls people and things that the model has learned under other names.
NEW_NAMES = {
    "Mia": "Ingrid",
    "Tom": "Pablo",
    "Anna": "Fatou",
    "Ben": "Hiroshi",
    "Lily": "Priya",
    "Sam": "Mateo",
    "Nora": "Zainab",
    "Leo": "Anders",
}
NEW_THINGS = {
    "ball": "violin",
    "book": "compass",
    "kite": "umbrella",
    "cup": "basket",
    "hat": "ladder",
    "drum": "mirror",
}
NEW_WORDINGS = {
    "went to": "set off for",
    "walked to": "wandered to",
    "put": "laid",
    "picked": "gathered",
    "found": "discovered",
    "gave": "handed",
    "took": "grabbed",
}


# --- Requests -------------------------------------------------------------------------------------


def served(cases: Sequence[Case], librarian: Librarian, progress: bool = False) -> dict[str, Any]:
    """What a librarian makes of the cases, one by one, and which part is to blame for the rest."""
    replies = [
        librarian.ask(case.request)
        for case in tqdm(cases, disable=not progress, desc=librarian.version)
    ]
    blame = Counter(cause(c, r) for c, r in zip(cases, replies, strict=True))
    return {
        "right": [int(right(c, r)) for c, r in zip(cases, replies, strict=True)],
        "declined": [int(r.answer is None) for r in replies],
        "sure": [round(r.sure, 3) for r in replies],
        "cause": {name: blame[name] for name in ("finding", "reading", "guard")},
        "reasons": dict(Counter(r.reason for r in replies if r.reason)),
    }


def alone(read: Reader, cases: Sequence[Case], stories: Sequence[str]) -> list[int]:
    """How a reader does on the cases whose story is given to it; an empty text is no story."""
    hits = []
    for case in cases:
        if case.story is not None:
            said, _ = read(stories[case.story], case.request.question)
            hits.append(int(said == case.answer))
    return hits


# --- Drift ----------------------------------------------------------------------------------------


def changed(text: str, words: dict[str, str]) -> str:
    """A text with other words in the place of some, whole words only."""
    listed = "|".join(map(re.escape, words))
    return re.sub(rf"\b({listed})\b", lambda m: words[m[1]], text)


def one_question(world: World, story: Story, rng: np.random.Generator) -> Question:
    """One of the questions that a story answers."""
    asked = world.questions(story)
    return asked[rng.integers(len(asked))]


def read_batch(
    model: Transformer,
    tokenizer: Tokenizer,
    stories: Sequence[Story],
    questions: Sequence[Question],
    renamed: Sequence[dict[str, str]],
) -> dict[str, list[Any]]:
    """The surprise per token of each story, and whether the question about it is answered rightly.

    Args:
        model: the reader.
        tokenizer: the model's.
        stories: what is read.
        questions: one for each story.
        renamed: for each story what is called differently in it and in its question.
    """
    read = model_reader(model, tokenizer)
    found: dict[str, list[Any]] = {"surprise": [], "right": []}
    for story, question, words in zip(stories, questions, renamed, strict=True):
        text, asked, truth = (
            changed(t, words) if words else t for t in (story.text, question.text, question.answer)
        )
        loss = float(story_losses(model, tokenizer, [text])[0].mean())
        found["surprise"].append(round(loss, 4))
        found["right"].append(int(read(text, asked)[0] == truth))
    return found


# --- Models that learn from models ----------------------------------------------------------------


def count_triples(texts: Sequence[list[str]]) -> dict[tuple[str, str], tuple[list[str], list[int]]]:
    """For each two words what followed them, with running totals of how often."""
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for words in texts:
        padded = ["", "", *words, ""]
        for a, b, c in zip(padded, padded[1:], padded[2:], strict=False):
            table[a, b][c] += 1
    return {pair: (list(c), list(accumulate(c.values()))) for pair, c in table.items()}


def write_texts(
    table: dict[tuple[str, str], tuple[list[str], list[int]]], n: int, rng: np.random.Generator
) -> list[list[str]]:
    """Texts drawn word by word from such a table."""
    texts = []
    for _ in range(n):
        a, b, words = "", "", []
        while True:
            followers, totals = table[a, b]
            a, b = b, followers[bisect_right(totals, rng.random() * totals[-1])]
            if not b:
                break
            words.append(b)
        texts.append(words)
    return texts


def generations(
    first: Sequence[list[str]],
    fresh: Sequence[list[str]],
    n: int,
    true_share: float = 0.0,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Counted models, each learning from texts that the one before it wrote.

    Args:
        first: the true texts that the first one learns from.
        fresh: other true texts, to see how much of them is still known.
        n: generations.
        true_share: the share of the first texts that every later model reads as well, in the place
            of as many written ones.
        seed: of the drawing.

    Returns:
        For each generation how many different senders of letters its training text has, how many
        different runs of three words, and what share of the runs of the fresh texts.
    """
    rng = np.random.default_rng(seed)
    wanted = [t for words in fresh for t in zip(words, words[1:], words[2:], strict=False)]
    true = list(first[: round(true_share * len(first))])
    found: dict[str, list[float]] = {"senders": [], "triples": [], "known": []}
    texts = list(first)
    for _ in range(n):
        runs = {t for words in texts for t in zip(words, words[1:], words[2:], strict=False)}
        found["senders"].append(len(set(SENDERS) & {w for words in texts for w in words}))
        found["triples"].append(len(runs))
        found["known"].append(round(float(np.mean([t in runs for t in wanted])), 4))
        texts = true + write_texts(count_triples(texts), len(first) - len(true), rng)
    return found


def loops(
    world: World, size: int, fresh: int, n: int, shares: Sequence[float], seeds: int
) -> dict[str, Any]:
    """`generations` for each share of true text, drawn again with several seeds.

    Args:
        world: tells the true stories.
        size: true stories that the first model learns from.
        fresh: other true stories.
        n: generations.
        shares: of true text that later models read again.
        seeds: how many times each is drawn.

    Returns:
        How many different senders the true text kept for each share has, and for each share and
        seed the numbers of senders and the share of known runs in every generation.
    """
    true = [story.text.split() for story in world.stories(size, FIRST_SEED)]
    new = [story.text.split() for story in world.stories(fresh, FRESH_SEED)]
    found: dict[str, Any] = {"shares": list(shares), "floor": [], "senders": [], "known": []}
    for share in shares:
        kept = true[: round(share * size)]
        found["floor"].append(len(set(SENDERS) & {w for words in kept for w in words}))
        lines = [generations(true, new, n, share, seed) for seed in range(seeds)]
        for key in ("senders", "known"):
            found[key].append([line[key] for line in lines])
    return found


# --- All of it ------------------------------------------------------------------------------------


def drift(
    model: Transformer,
    tokenizer: Tokenizer,
    world: World,
    quiet: int,
    weeks: int,
    per_week: int,
    onset: int,
    step: float,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """Quiet stories in all their forms, then weeks with more and more from a changed world."""
    rng = np.random.default_rng((seed, 1))
    same: dict[str, str] = {}
    everything = {**NEW_NAMES, **NEW_THINGS, **NEW_WORDINGS}
    stories = world.stories(quiet, QUIET_SEED)
    asked = [one_question(world, story, rng) for story in stories]
    kinds = {"names": NEW_NAMES, "things": NEW_THINGS, "wordings": NEW_WORDINGS, "all": everything}
    calm = read_batch(model, tokenizer, stories, asked, [same] * quiet)
    effect = {
        name: read_batch(model, tokenizer, stories, asked, [words] * quiet)
        for name, words in tqdm(kinds.items(), disable=not progress, desc="changes")
    }
    rng = np.random.default_rng((seed, 2))
    told = world.stories(weeks * per_week, WEEKS_SEED)
    share, fresh, weekly, correct = [], [], [], []
    for week in tqdm(range(weeks), disable=not progress, desc="weeks"):
        share.append(round(min(1.0, max(0.0, (week - onset + 1) * step)), 4))
        new = rng.random(per_week) < share[-1]
        batch = told[week * per_week : (week + 1) * per_week]
        asked = [one_question(world, story, rng) for story in batch]
        renamed = [everything if u else same for u in new]
        found = read_batch(model, tokenizer, batch, asked, renamed)
        fresh.append([int(u) for u in new])
        weekly.append(found["surprise"])
        correct.append(found["right"])
    return {
        "quiet": calm,
        "changed": effect,
        "share": share,
        "new": fresh,
        "surprise": weekly,
        "right": correct,
    }


def run(
    library: int = 360,
    missing: int = 40,
    clues: int = 4,
    training: int = BOOK_STORIES,
    quiet: int = 400,
    weeks: int = 24,
    per_week: int = 40,
    onset: int = 12,
    step: float = 0.05,
    loop_stories: int = 500,
    loop_seeds: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Runs everything.

    Args:
        library: stories in it; each is asked about once.
        missing: requests about stories that are not in it.
        clues: what a visitor remembers, at most.
        training: stories of the training text to compare the library with.
        quiet: stories from the time before anything changes.
        weeks: how long is watched.
        per_week: new stories a week.
        onset: the week in which the change begins, counted from 0.
        step: by how much the changed stories' share grows each week.
        loop_stories: true stories that the first of the counted models learns from.
        loop_seeds: how often each loop of counted models is drawn.
        seed: of all that is drawn.
        progress: shows progress bars on stderr.

    Returns:
        The numbers that ``results/system.json`` holds.
    """
    world = World()
    told = world.stories(library, LIBRARY_SEED)
    texts = [story.text for story in told]
    cases = make_cases(world, told, world.stories(missing, MISSING_SEED), clues, seed)
    model, tokenizer = load_answerer()
    read = model_reader(model, tokenizer)
    versions = {
        "demo": served(cases, Librarian(texts, read, "demo", 1, guarded=False), progress),
        "guarded": served(cases, Librarian(texts, read, "guarded"), progress),
    }
    for bits in (8, 4):
        small, _ = load_answerer()
        quantize_model(small, bits=bits)
        name = f"int{bits}"
        librarian = Librarian(texts, model_reader(small, tokenizer), name)
        versions[name] = served(cases, librarian, progress)
    book, _ = load_book_model()
    ways = {
        "book": alone(model_reader(book, tokenizer), cases, texts),
        "memory": alone(read, cases, [""] * library),
        "given": alone(read, cases, texts),
    }
    seen = [story.text for story in world.stories(training, TRAINING_SEED)]
    asked_about = [
        story.text for story in world.stories(min(training, ANSWERER_STORIES), ANSWERER_SEED)
    ]
    shared = {str(n): [round(float(s), 3) for s in overlap(texts, seen, n)] for n in (5, 8, 13)}
    tuned = [round(float(s), 3) for s in overlap(texts, asked_about, 13)]
    watch = drift(model, tokenizer, world, quiet, weeks, per_week, onset, step, seed, progress)
    return {
        "experiment": "system",
        "date": date.today().isoformat(),
        "seed": seed,
        "library": library,
        "missing": missing,
        "clues": clues,
        "versions": versions,
        "ways": ways,
        "training_stories": training,
        "verbatim": len(set(texts) & set(seen)),
        "near_copies": len(near_copies(texts)),
        "overlap": shared,
        "tuning_stories": len(asked_about),
        "tuning_verbatim": len(set(texts) & set(asked_about)),
        "tuning_overlap": tuned,
        "drift": watch,
        "loop": loops(world, loop_stories, 3 * loop_stories // 5, 12, (0.0, 0.1, 0.3), loop_seeds),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("system", run, __doc__, arguments)


if __name__ == "__main__":
    main()
