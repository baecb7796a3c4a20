"""Chapter 3 of Volume I: five kinds of model, equal in size and training, asked about the past.

A counted 5-gram model, a network with a window of 16 tokens (Bengio et al., 2003), two recurrent
networks (Elman, 1990; Cho et al., 2014) and a small attention network read the same stories. Then
they fill blanks whose answer is certain for whoever remembers the story, and the question is how
their success depends on how many tokens ago the answer was last mentioned.

    python -m llm_primer.experiments.networks

trains them in a few minutes on one core and writes ``results/networks.json``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.evaluation import story_losses
from llm_primer.experiments import store
from llm_primer.feedforward import FeedForwardConfig, FeedForwardLM
from llm_primer.grammar import pronoun, with_article
from llm_primer.ngram import NGram
from llm_primer.nn import log_softmax_array
from llm_primer.recurrent import RecurrentConfig, RecurrentLM
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import TrainConfig, encode_documents, train
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import ADJECTIVES, PEOPLE, PLACES, THINGS, World

WINDOW = 16
ORDER = 5
BATCH, CONTEXT = 24, 104
#: Peak learning rates. In short runs the recurrent networks did better at 1e-2 than at 3e-3, the
#: attention network did worse at 8e-3.
RATES = {"window": 3e-3, "elman": 1e-2, "gru": 1e-2, "attention": 3e-3}
#: Places one is *in*: the preposition gives nothing away (only one place is *on*, two are *at*).
IN_PLACES = [place for place, preposition in PLACES.items() if preposition == "in"]
EDGES = (1, 9, 13, 17, 25, 33, 41, 57, 200)


@dataclass(frozen=True)
class Blank:
    """A gap whose answer is certain for whoever remembers the story.

    Attributes:
        question: "where" (was still in the ...), "who" (was with ...) or "which" (the red ...).
        ids: the tokens before the gap, from ``<|end|>`` on.
        answer: the token that belongs there.
        distance: how many tokens ago it was last mentioned; 1 is the token just before the gap.
        others: the other tokens of its kind that the story has mentioned.
    """

    question: str
    ids: tuple[int, ...]
    answer: int
    distance: int
    others: tuple[int, ...]


def build_models(seed: int = 0) -> dict[str, Any]:
    """The four networks, each of some 110,000 parameters.

    The update gate of the GRU starts near 0.9, in favor of keeping, as is common: a gate that
    starts half open loses within a few tokens what training would have to discover.
    """
    gru = RecurrentLM(RecurrentConfig(width=75, cell="gru"), seed)
    assert gru.w_in.bias is not None
    gru.w_in.bias.data[75:150] = 2.0
    return {
        "window": FeedForwardLM(FeedForwardConfig(window=WINDOW, width=32, hidden=92), seed),
        "elman": RecurrentLM(RecurrentConfig(width=92, cell="elman"), seed),
        "gru": gru,
        # Untied, like the others: then the table that is looked up and the one that scores the
        # answers are two, and the influence of an input can be told from that of the output.
        "attention": Transformer(
            TransformerConfig(width=48, layers=2, heads=4, ff_width=144, context=256, tied=False),
            seed,
        ),
    }


# --- Blanks ---------------------------------------------------------------------------------------


def find_blanks(texts: Sequence[str], tokenizer: Tokenizer) -> list[Blank]:
    """The gaps of stories that need memory.

    Three forms have a certain answer: where a thing lies ("was still in the ..."), who has it at
    the end ("was with ..."), and which thing is meant after its adjective ("the red ..."), if only
    one thing of the story has that adjective. Each counts only if the story has mentioned the
    answer and at least one other word of its kind.
    """
    found = []
    forms = {
        "where": (rf"was still in the (?=({'|'.join(IN_PLACES)})\b)", IN_PLACES),
        "who": (rf"was with (?=({'|'.join(PEOPLE)})\b)", list(PEOPLE)),
        "which": (rf"\bthe (?:{'|'.join(ADJECTIVES)}) (?=({'|'.join(THINGS)})\b)", list(THINGS)),
    }
    for text in texts:
        introduced = re.findall(rf"\ban? ({'|'.join(ADJECTIVES)}) (?:{'|'.join(THINGS)})", text)
        for question, (pattern, words) in forms.items():
            kind = {tokenizer.encode(f" {word}")[0] for word in words}
            for match in re.finditer(pattern, text):
                if question == "which":
                    adjective = match.group().split()[-1]
                    if introduced.count(adjective) > 1:
                        continue
                ids = [tokenizer.end_id, *tokenizer.encode(text[: match.end() - 1])]
                answer, *rest = tokenizer.encode(f" {match[1]}")
                if rest or answer not in ids:
                    continue
                others = {token for token in ids if token in kind and token != answer}
                if others:
                    distance = ids[::-1].index(answer) + 1
                    found.append(
                        Blank(question, tuple(ids), answer, distance, tuple(sorted(others)))
                    )
    return found


def answers(model: Any, blanks: Sequence[Blank], batch_size: int = 32) -> tuple[Array, Array]:
    """For each blank the answer's ln p, and whether it is the most probable of all tokens."""
    log_p = np.empty(len(blanks))
    right = np.empty(len(blanks), bool)
    if isinstance(model, NGram):
        for i, blank in enumerate(blanks):
            p = model.distribution(blank.ids)
            log_p[i], right[i] = np.log(p[blank.answer]), p.argmax() == blank.answer
        return log_p, right
    order = sorted(range(len(blanks)), key=lambda i: len(blanks[i].ids))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        ids = np.zeros((len(batch), len(blanks[batch[-1]].ids)), int)
        for row, i in enumerate(batch):
            ids[row, : len(blanks[i].ids)] = blanks[i].ids
        scores = log_softmax_array(model.logits(ids))
        for row, i in enumerate(batch):
            last = scores[row, len(blanks[i].ids) - 1]
            log_p[i], right[i] = last[blanks[i].answer], last.argmax() == blanks[i].answer
    return log_p, right


def by_distance(blanks: Sequence[Blank], log_p: Array, right: Array) -> dict[str, list[float]]:
    """Accuracy and mean surprise of the blanks between each two of `EDGES`."""
    bins = np.digitize([blank.distance for blank in blanks], EDGES) - 1
    accuracy, surprise = [], []
    for number in range(len(EDGES) - 1):
        inside = bins == number
        accuracy.append(round(float(right[inside].mean()), 4) if inside.any() else float("nan"))
        surprise.append(round(float(-log_p[inside].mean()), 4) if inside.any() else float("nan"))
    return {"accuracy": accuracy, "surprise": surprise}


# --- The same question, asked later and later -----------------------------------------------------


def lamp_story(rng: np.random.Generator) -> tuple[list[str], list[str], str]:
    """A story about a thing that is left somewhere: its beginning, what delays, the place.

    After the beginning and any number of the delaying sentences "The lamp was still in the ..." has
    one answer.
    """
    a, b = (str(name) for name in rng.choice(list(PEOPLE)[:6], 2, replace=False))
    here, there, far = (str(place) for place in rng.choice(IN_PLACES, 3, replace=False))
    x, y = (str(noun) for noun in rng.choice(list(THINGS)[:12], 2, replace=False))
    color, other = (str(adjective) for adjective in rng.choice(ADJECTIVES, 2, replace=False))
    beginning = [
        f"One day, {a} was in the {here}.",
        f"{pronoun(a).capitalize()} had {with_article(color, x)}.",
        f"{a} left the {x} in the {here}.",
    ]
    delays = [
        f"{b} was in the {there}.",
        f"{a} went to the {there}.",
        f"{b} had {with_article(other, y)}.",
        f"{b} gave the {y} to {a}.",
        f"{a} {THINGS[y]} the {y}.",
        f"Then {a} gave the {y} to {b}.",
        f"{b} went to the {far}.",
    ]
    return beginning, [*delays, f"The {x} was still in the"], here


def lamp_blanks(tokenizer: Tokenizer, stories: int, seed: int) -> list[list[Blank]]:
    """For each number of delaying sentences from 1 on, the blanks of `stories` lamp stories."""
    rng = np.random.default_rng(seed)
    told = [lamp_story(rng) for _ in range(stories)]
    levels = []
    for delays in range(1, len(told[0][1])):
        blanks = []
        for beginning, rest, here in told:
            text = " ".join([*beginning, *rest[:delays], rest[-1]])
            ids = [tokenizer.end_id, *tokenizer.encode(text)]
            answer = tokenizer.encode(f" {here}")[0]
            blanks.append(Blank("where", tuple(ids), answer, ids[::-1].index(answer) + 1, ()))
        levels.append(blanks)
    return levels


# --- Influence ------------------------------------------------------------------------------------


def influence(model: Any, ids: Sequence[int], answer: int) -> Array:
    """How strongly ln p(answer) after ``ids`` depends on each input vector: gradient lengths (T,).

    The model reads a table in which every position has a row of its own, so that the gradient of
    that table keeps the positions apart.
    """
    table = model.embed.weight
    own = table.data.copy()
    own[: len(ids)] = table.data[list(ids)]
    model.embed.weight = Tensor(own, requires_grad=True)
    try:
        logits = model(np.arange(len(ids))[None])[:, -1]
        shifted = logits - float(logits.data.max())
        log_p = shifted[:, answer] - shifted.exp().sum(axis=-1).log()
        log_p.sum().backward()
        gradient = model.embed.weight.grad
    finally:
        model.embed.weight = table
    return np.linalg.norm(gradient[: len(ids)].astype(np.float64), axis=1)


def mean_influence(model: Any, blanks: Sequence[Blank], reach: int) -> list[float]:
    """The mean influence of the token 1, 2, ... ``reach`` places back (geometric mean).

    Averaging logarithms keeps a few sensitive stories from hiding the others. Exact zeros, which
    only the window has, are kept as zeros.
    """
    rows = np.array([influence(model, b.ids, b.answer)[::-1][:reach] for b in blanks])
    with np.errstate(divide="ignore"):
        return [float(f"{value:.3e}") for value in np.exp(np.log(rows).mean(axis=0))]


# --- All of it ------------------------------------------------------------------------------------


def word_map(table: Array, tokenizer: Tokenizer) -> dict[str, Any]:
    """Word vectors: where they lie in a plane, and whose nearest neighbors are of their kind.

    The plane is that of the two directions in which the listed vectors, scaled to length 1, differ
    most (principal components).
    """
    kinds = {
        "person": list(PEOPLE),
        "place": list(PLACES),
        "thing": list(THINGS),
        "adjective": list(ADJECTIVES),
    }
    listed = [(kind, word) for kind, words in kinds.items() for word in words]
    listed = [(kind, word) for kind, word in listed if len(tokenizer.encode(f" {word}")) == 1]
    vectors = np.array([table[tokenizer.encode(f" {word}")[0]] for _, word in listed], float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    nearest = similar.argmax(axis=1)
    centered = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    plane = centered @ directions[:2].T
    # The sign of a principal component is arbitrary; fix it.
    plane *= np.where(np.abs(plane).max(axis=0) == plane.max(axis=0), 1, -1)
    return {
        "words": [
            {
                "word": word,
                "kind": kind,
                "x": round(float(x), 3),
                "y": round(float(y), 3),
                "nearest": listed[near][1],
                "similarity": round(float(similar[i, near]), 3),
            }
            for i, ((kind, word), (x, y), near) in enumerate(
                zip(listed, plane, nearest, strict=True)
            )
        ],
        "same_kind": round(
            float(
                np.mean(
                    [
                        listed[near][0] == kind
                        for (kind, _), near in zip(listed, nearest, strict=True)
                    ]
                )
            ),
            3,
        ),
    }


def example(models: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """One lamp story: each model's favorites for the gap, and where the attention network looks."""
    text = (
        "One day, Ben was in the kitchen. He had a red lamp. Ben left the lamp in the kitchen. "
        "Mia was in the garden. Ben went to the garden. Mia had a blue ball. "
        "The lamp was still in the"
    )
    ids = [tokenizer.end_id, *tokenizer.encode(text)]
    favorites = {}
    for name, model in models.items():
        if isinstance(model, NGram):
            p = model.distribution(ids)
        else:
            p = np.exp(log_softmax_array(model.logits(np.array(ids))[-1]))
        best = p.argsort()[::-1][:3]
        favorites[name] = [(tokenizer.decode([i]).strip(), round(float(p[i]), 3)) for i in best]
    with no_grad():
        weights = models["attention"].attention_weights(np.array(ids))[:, :, -1]
    return {
        "text": text,
        "pieces": [tokenizer.decode([i]) for i in ids],
        "favorites": favorites,
        "attention": np.round(weights.astype(float), 4).tolist(),
    }


def train_models(
    world: World, tokenizer: Tokenizer, stories: int, steps: int, seed: int, progress: bool
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The five models, trained on the same stories; the networks' validation losses on the way."""
    ids = encode_documents([s.text for s in world.stories(stories, 1)], tokenizer)
    ids_valid = encode_documents([s.text for s in world.stories(200, 2)], tokenizer)
    models: dict[str, Any] = {"ngram": NGram(ORDER, vocab_size=tokenizer.vocab_size).fit(ids)}
    histories = {}
    for name, model in build_models(seed).items():
        config = TrainConfig(
            steps=steps,
            batch_size=BATCH,
            context=CONTEXT,
            lr=RATES[name],
            warmup=min(100, steps // 10),
            seed=seed,
            document_start=tokenizer.end_id,
            valid_every=max(1, steps // 8),
        )
        history = train(model, ids, ids_valid, config, progress=progress)
        models[name] = model
        histories[name] = [round(value, 4) for value in history.valid_loss]
    return models, histories


def run(
    stories: int = 30_000,
    steps: int = 3000,
    test_stories: int = 1500,
    lamp_stories: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains the models and asks them everything.

    Args:
        stories: to train on (seed 1 of the world).
        steps: updates for each network.
        test_stories: whose blanks are asked (seed 3).
        lamp_stories: stories of the form of `lamp_story`.
        seed: of first weights, batches and lamp stories.
        progress: shows progress bars on stderr.

    Returns:
        The numbers that ``results/networks.json`` holds.
    """
    world, tokenizer = World(), Tokenizer.book()
    models, histories = train_models(world, tokenizer, stories, steps, seed, progress)
    texts = [s.text for s in world.stories(test_stories, 3)]
    blanks = find_blanks(texts, tokenizer)
    levels = lamp_blanks(tokenizer, lamp_stories, seed)
    losses_of = texts[: min(60, test_stories)]
    tokens = sum(len(tokenizer.encode(text)) + 1 for text in losses_of)
    reach = 60
    long = [b for b in blanks if len(b.ids) > reach][: min(60, test_stories)]

    results: dict[str, Any] = {}
    for name, model in models.items():
        log_p, right = answers(model, blanks)
        asked = [answers(model, level) for level in levels]
        losses = story_losses(model, tokenizer, losses_of)
        results[name] = {
            "parameters": None if name == "ngram" else model.num_parameters(),
            "loss": round(float(sum(one.sum() for one in losses) / tokens), 4),
            "valid_loss": histories.get(name),
            "natural": by_distance(blanks, log_p, right),
            "by_question": {
                question: round(float(right[[b.question == question for b in blanks]].mean()), 4)
                for question in ("where", "who", "which")
            },
            "lamp": {
                "accuracy": [round(float(hits.mean()), 4) for _, hits in asked],
                "probability": [round(float(np.exp(log).mean()), 4) for log, _ in asked],
            },
            "influence": None if name == "ngram" else mean_influence(model, long, reach),
            "same_kind": None
            if name == "ngram"
            else word_map(model.embed.weight.data, tokenizer)["same_kind"],
        }
    bins = np.digitize([blank.distance for blank in blanks], EDGES) - 1
    return {
        "experiment": "networks",
        "date": date.today().isoformat(),
        "seed": seed,
        "stories": stories,
        "tokens_per_step": BATCH * CONTEXT,
        "learning_rates": RATES,
        "steps": steps,
        "window": WINDOW,
        "order": ORDER,
        "floor": round(float(-sum(world.log_prob(text) for text in losses_of) / tokens), 4),
        "edges": list(EDGES),
        "blanks": np.bincount(bins, minlength=len(EDGES) - 1).tolist(),
        "chance": [
            round(
                float(
                    np.mean(
                        [
                            1 / (1 + len(b.others))
                            for b, k in zip(blanks, bins, strict=True)
                            if k == i
                        ]
                        or [0]
                    )
                ),
                4,
            )
            for i in range(len(EDGES) - 1)
        ],
        "lamp_distance": [
            round(float(np.mean([b.distance for b in level])), 1) for level in levels
        ],
        "models": results,
        "word_map": word_map(models["attention"].embed.weight.data, tokenizer),
        "example": example(models, tokenizer),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("networks", run, __doc__, arguments)


if __name__ == "__main__":
    main()
