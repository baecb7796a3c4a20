"""Chapter 7 of Volume I: finding the right story by words and by vectors, and answering from it.

A thousand stories of the small world are searched with what somebody remembers of one of them:
three sentences of it, told again in fresh wordings, with the names or without. Searched is by BM25,
by the hidden states of the book's language model, by a small projection of these that was trained
with pairs of a memory and its story (InfoNCE with the other stories of the batch as negatives; van
den Oord et al., 2018, arXiv:1807.03748), and by reciprocal rank fusion. Then the answerer of the
book reads what was found and answers questions about the story that was meant.

    python -m llm_primer.experiments.search

takes a few minutes on one core and writes ``results/search.json``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from llm_primer.answerer import answer, load_answerer
from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.experiments import store
from llm_primer.finetune import answer_log_probs, question_example
from llm_primer.grammar import State, choose
from llm_primer.nn import Linear, Module, cross_entropy, silu
from llm_primer.optim import AdamW, clip_grad_norm, cosine_schedule
from llm_primer.retrieval import BM25, cosine_similarity
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, load_book_model
from llm_primer.world import World
from llm_primer.world_words import ADJECTIVES, PEOPLE, THINGS

TEMPERATURE = 0.05
BATCH = 64
REMEMBERED = 3  # sentences

# --- What somebody remembers ----------------------------------------------------------------------


def retell(world: World, story: Any, start: int, stop: int, rng: np.random.Generator) -> str:
    """Sentences `start` to `stop` of a story in fresh wordings, with names in place of "she"."""
    told = []
    for i in range(start, stop):
        before = replace(story.states[i - 1] if i else State(), topic=None, it=None)
        told.append(choose(world.wordings(before, story.events[i]), rng))
    return " ".join(told)


def without_names(text: str) -> str:
    """Every person becomes "someone" and every thing "something"; places and deeds stay."""
    adjectives, things = "|".join(ADJECTIVES), "|".join(THINGS)
    text = re.sub(rf"\bThe (?:(?:{adjectives}) )?(?:{things})\b", "Something", text)
    text = re.sub(rf"\b(?:the|an?) (?:(?:{adjectives}) )?(?:{things})\b", "something", text)
    text = re.sub(rf"(^|[.] |\")(?:{'|'.join(PEOPLE)})\b", r"\1Someone", text)
    return re.sub(rf"\b(?:{'|'.join(PEOPLE)})\b", "someone", text)


def memories(world: World, stories: Sequence[Any], seed: int, names: bool) -> list[str]:
    """Three sentences in a row of each story, told again from memory."""
    rng, told = np.random.default_rng(seed), []
    for story in stories:
        last = len(story.events) - 1  # the closing sentence says little
        start = int(rng.integers(0, max(1, last - REMEMBERED + 1)))
        text = retell(world, story, start, min(start + REMEMBERED, last), rng)
        told.append(text if names else without_names(text))
    return told


def fitting(world: World, stories: Sequence[Any], told: Sequence[str]) -> Array:
    """How many of the stories each nameless memory fits word for word: (memories,).

    A memory fits a story if its sentences are wordings, without names, of events in a row there. A
    search that draws lots among those has the right one first with a chance of one over this.
    """
    known: list[list[set[str]]] = []
    for story in stories:
        before = [State(), *story.states]
        known.append(
            [
                {
                    without_names(text)
                    for _, text in world.wordings(replace(state, topic=None, it=None), event)
                }
                for state, event in zip(before, story.events, strict=False)
            ]
        )

    def tells(text: str, events: Sequence[set[str]]) -> bool:
        return not text or (
            bool(events)
            and any(
                text.startswith(wording) and tells(text[len(wording) :].lstrip(), events[1:])
                for wording in events[0]
            )
        )

    return np.array(
        [
            sum(any(tells(text, events[i:]) for i in range(len(events))) for events in known)
            for text in told
        ]
    )


# --- Vectors --------------------------------------------------------------------------------------


def mean_states(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], batch_size: int = 32
) -> Array:
    """For each text the mean of its tokens' hidden states in every layer: (texts, L + 1, d).

    As `llm_primer.retrieval.mean_embedding`, many texts at a time and with ``<|end|>`` in front,
    as the model has met the beginnings of texts in training.
    """
    ids = [[tokenizer.end_id, *tokenizer.encode(text)] for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    out = np.empty((len(ids), model.config.layers + 1, model.config.width), np.float32)
    with no_grad():
        for start in range(0, len(ids), batch_size):
            batch = order[start : start + batch_size]
            table = np.zeros((len(batch), len(ids[batch[-1]])), np.int64)
            for row, i in enumerate(batch):
                table[row, : len(ids[i])] = ids[i]
            x, angles = model.start(table)
            states = [x.data]
            for block in model.blocks:
                x = block(x, angles)
                states.append(x.data)
            for row, i in enumerate(batch):
                for layer, state in enumerate(states):
                    out[i, layer] = state[row, 1 : len(ids[i])].mean(axis=0)
    return out


class Projection(Module):
    """From the mean states of all layers to one vector of length 1, by two matrices and a bend.

    Args:
        features: (n, f), to take their mean and spread from.
        hidden: numbers between the matrices.
        width: numbers in the vector.
        seed: of the first weights.
    """

    def __init__(self, features: Array, hidden: int = 192, width: int = 64, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._mean, self._spread = features.mean(axis=0), features.std(axis=0) + 1e-5
        self.first = Linear(features.shape[1], hidden, rng)
        self.second = Linear(hidden, width, rng, bias=False)

    def __call__(self, features: Array) -> Tensor:
        """Vectors (n, width) for features (n, f)."""
        x = Tensor(((features - self._mean) / self._spread).astype(np.float32))
        e = self.second(silu(self.first(x)))
        return e / ((e * e).sum(axis=1, keepdims=True) + 1e-8) ** 0.5

    def embed(self, features: Array) -> Array:
        """The same as a plain array."""
        with no_grad():
            return self(features).data


def contrastive_loss(similarity: Tensor, temperature: float) -> Tensor:
    """InfoNCE in both directions: which column belongs to each row, and which row to each column.

    Args:
        similarity: cosines (B, B); the pairs that belong together stand on the diagonal.
        temperature: what they are divided by.

    Returns:
        The mean of the two cross-entropies, in nats. Knowing nothing costs ln B.
    """
    right = np.arange(len(similarity))
    scores = similarity * (1 / temperature)
    return (cross_entropy(scores, right) + cross_entropy(scores.T, right)) * 0.5


def train_projection(
    queries: Array, documents: Array, steps: int, seed: int = 0, lr: float = 2e-3
) -> tuple[Projection, list[float]]:
    """Learns to put each query's vector nearest to that of its document.

    Args:
        queries: features (n, f).
        documents: features (n, f); row i is what query i should find.
        steps: updates of 64 pairs each.
        seed: of the weights and of the order of the pairs.
        lr: the peak learning rate.
    """
    projection = Projection(np.concatenate([queries, documents]), seed=seed)
    optimizer = AdamW(projection.parameters(), weight_decay=0.05)
    rng, losses = np.random.default_rng(seed), []
    for step in range(steps):
        batch = rng.choice(len(queries), min(BATCH, len(queries)), replace=False)
        optimizer.zero_grad()
        similarity = projection(queries[batch]) @ projection(documents[batch]).T
        loss = contrastive_loss(similarity, TEMPERATURE)
        loss.backward()
        clip_grad_norm(optimizer.tensors, 1.0)
        optimizer.step(cosine_schedule(step, peak=lr, total=steps, warmup=max(1, steps // 20)))
        losses.append(loss.item())
    return projection, losses


# --- Who gave it to whom --------------------------------------------------------------------------


def gifts(n: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Pairs that say the same: "Then Mia gave the cup to Tom." and "Then Mia gave Tom the cup.".

    Without "Then" the giver would be given away by the tokenizer, which has one token for a name at
    the beginning of a text and another for a name after a space.

    Args:
        n: how many pairs, an even number; every second one is the reverse of the one before it.
        rng: draws people and things.
    """
    first: list[str] = []
    second: list[str] = []
    people, things = list(PEOPLE), list(THINGS)
    while len(first) < n:
        a, b = (str(name) for name in rng.choice(people, 2, replace=False))
        noun = str(rng.choice(things))
        for giver, receiver in ((a, b), (b, a)):
            first.append(f"Then {giver} gave the {noun} to {receiver}.")
            second.append(f"Then {giver} gave {receiver} the {noun}.")
    return first, second


def tell_apart(
    model: Transformer,
    tokenizer: Tokenizer,
    embed: Callable[[Array], Array],
    pairs: int = 200,
    seed: int = 1,
) -> dict[str, float]:
    """Whether vectors tell who gave, on gifts that are each followed by their reverse.

    Returns:
        How often a sentence is nearer to its other wording than to that of the reverse gift (a tie
        counts half), the same asked from the other wording, how often the nearest of all is about
        the right people and thing, and the mean lead over the reverse gift as a share of the mean
        lead over the gifts of others.
    """
    one, other = gifts(pairs, np.random.default_rng(seed))
    u, v = (embed(mean_states(model, tokenizer, texts)) for texts in (one, other))
    similar = cosine_similarity(u, v)
    own = np.arange(len(one))
    lead = similar[own, own] - similar[own, own ^ 1]
    back = similar[own, own] - similar[own ^ 1, own]
    others = np.ones_like(similar, dtype=bool)
    others[own, own] = others[own, own ^ 1] = False
    over_others = similar[own, own].mean() - similar[others].mean()
    return {
        "told apart": round(float(((np.sign(lead.round(5)) + 1) / 2).mean()), 4),
        "asked back": round(float(((np.sign(back.round(5)) + 1) / 2).mean()), 4),
        "lead": round(float(lead.mean() / over_others), 4),
        "right things": round(float((similar.argmax(axis=1) // 2 == own // 2).mean()), 4),
    }


# --- Searching ------------------------------------------------------------------------------------


def places(orders: Sequence[Array], right: Sequence[int]) -> Array:
    """At which place, counted from 1, each order has the document that was meant."""
    return np.array([int(np.where(o == r)[0][0]) + 1 for o, r in zip(orders, right, strict=True)])


def scores_of(found: Array) -> dict[str, float]:
    """Recall at 1 and 10 and the mean reciprocal rank, from the places of the right documents."""
    return {
        "recall_1": round(float((found <= 1).mean()), 4),
        "recall_10": round(float((found <= 10).mean()), 4),
        "mrr": round(float((1 / found).mean()), 4),
    }


def by_score(scores: Array) -> Array:
    """Documents from the highest score to the lowest."""
    return np.argsort(-scores, kind="stable")


def fused(first: Array, second: Array, weight: float = 0.5, k: float = 60.0) -> Array:
    """Reciprocal rank fusion with weights: ``weight`` for the first order, the rest for the second.

    With one half, the order of `llm_primer.retrieval.reciprocal_rank_fusion`.
    """
    scores = np.zeros(len(first))
    scores[first] += weight / (k + 1 + np.arange(len(first)))
    scores[second] += (1 - weight) / (k + 1 + np.arange(len(second)))
    return by_score(scores)


def worth_showing(found: dict[str, Array], first: int = 12) -> list[int]:
    """The first stories, and then one that only the words, only the vectors, only both find.

    Args:
        found: for each way of searching the places of the right stories.
        first: how many to begin with.
    """
    words, vectors, both = found["BM25"], found["trained"], found["hybrid"]
    rare = (
        (words == 1) & (vectors > 10),
        (vectors == 1) & (words > 10),
        (words > 1) & (vectors > 1) & (both == 1),
    )
    chosen = list(range(min(first, len(words))))
    for case in rare:
        chosen += [int(i) for i in np.flatnonzero(case)[:1] if int(i) not in chosen]
    return chosen


def neighbors(units: Array, links: int) -> Array:
    """For each of the vectors of length 1 the numbers of those nearest to it: (n, links)."""
    similar = units @ units.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1)[:, :links]


def linked(nearest: Array) -> list[list[int]]:
    """A network from lists of nearest neighbors: links are used in both directions."""
    links: list[set[int]] = [set(map(int, row)) for row in nearest]
    for i, row in enumerate(nearest):
        for j in row:
            links[int(j)].add(i)
    return [sorted(found) for found in links]


def walk(
    units: Array, links: Sequence[Sequence[int]], query: Array, start: int, keep: int
) -> tuple[list[int], int]:
    """Searches by going from vector to vector along links, always on from the best not yet seen.

    This is the search within one layer of HNSW (Malkov and Yashunin, 2018, arXiv:1603.09320).

    Args:
        units: (n, d), vectors of length 1.
        links: for each vector the numbers of those it is linked with.
        query: (d,), of length 1.
        start: where to begin.
        keep: how many of the best so far are kept; the walk ends when all their links were tried.

    Returns:
        The kept ones, the best first, and how many vectors were compared with the query.
    """
    best = [(float(units[start] @ query), start)]
    seen, done = {start}, set()
    while True:
        open_ones = [number for _, number in best if number not in done]
        if not open_ones:
            return [number for _, number in best], len(seen)
        done.add(open_ones[0])
        for number in links[open_ones[0]]:
            if number not in seen:
                seen.add(number)
                best.append((float(units[number] @ query), number))
        best = sorted(best, reverse=True)[:keep]


def approximate(units: Array, queries: Array, seed: int, k: int = 10) -> list[dict[str, float]]:
    """How much of the true ten nearest a walk finds, and how many comparisons that takes."""
    links = linked(neighbors(units, 8))
    truth = [set(by_score(units @ q)[:k].tolist()) for q in queries]
    start = int(np.random.default_rng(seed).integers(len(units)))
    curve = []
    for keep in (10, 15, 25, 40, 80, 160):
        found = [walk(units, links, q, start, keep) for q in queries]
        hits = [len(truth[i] & set(best[:k])) / k for i, (best, _) in enumerate(found)]
        curve.append(
            {
                "keep": keep,
                "recall": round(float(np.mean(hits)), 4),
                "compared": round(float(np.mean([n for _, n in found])) / len(units), 4),
            }
        )
    return curve


# --- Answering ------------------------------------------------------------------------------------


def one_question_each(world: World, stories: Sequence[Any], seed: int) -> list[Any]:
    """A question about each story: where a thing is or who has it."""
    rng, asked = np.random.default_rng(seed), []
    for story in stories:
        about_things = [q for q in world.questions(story) if not q.text.startswith("Where is ")]
        about_things += [q for q in world.questions(story) if q.text.startswith("Where is the ")]
        asked.append(about_things[int(rng.integers(len(about_things)))] if about_things else None)
    return asked


class Reader:
    """The answerer, which remembers what it was asked, and how sure it is of its answers."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._known: dict[tuple[str, str], tuple[str, float]] = {}

    def __call__(self, text: str, question: str) -> tuple[str, float]:
        """The answer from a text, and the probability that the model gives it."""
        if (text, question) not in self._known:
            said = answer(self.model, self.tokenizer, text, question)
            example = question_example(self.tokenizer, text, question, said)
            with no_grad():
                p = float(np.exp(answer_log_probs(self.model, [example]).data[0]))
            self._known[text, question] = (said, p)
        return self._known[text, question]


def open_book(
    world: World,
    reader: Reader,
    stories: Sequence[Any],
    questions: Sequence[Any],
    orders: dict[str, list[Array]],
    seed: int,
) -> dict[str, Any]:
    """Answers each question from nothing, from the right story, and from what was found.

    Args:
        world: knows nothing that is not in the stories.
        reader: answers.
        stories: the collection; question i is about story i.
        questions: as `one_question_each` gives them; None where a story has no thing.
        orders: for each way of searching, the whole collection in order, one order a question.
        seed: of the random other story.
    """
    rng = np.random.default_rng(seed)
    asked = [i for i, question in enumerate(questions) if question is not None]
    texts = [story.text for story in stories]

    def measure(context: Callable[[int], str]) -> dict[str, Any]:
        said = [reader(context(i), questions[i].text) for i in asked]
        right = np.array([s == questions[i].answer for i, (s, _) in zip(asked, said, strict=True)])
        sure = np.array([p for _, p in said])
        return {"right": round(float(right.mean()), 4), "sure": round(float(sure.mean()), 4)}

    def tells_of(i: int, j: int) -> bool:
        noun = questions[i].text.rstrip("?").split()[-1]
        return j != i and any(thing == noun for thing, _, _ in stories[j].state.things)

    found = orders["hybrid"]
    other = {i: int((i + 1 + rng.integers(len(texts) - 1)) % len(texts)) for i in asked}
    lookalike = {i: next(int(j) for j in found[i] if tells_of(i, int(j))) for i in asked}
    context = reader.model.config.context - 30
    short = [
        i for i in asked if len(reader.tokenizer.encode(texts[i] + texts[lookalike[i]])) < context
    ]
    results: dict[str, Any] = {
        "questions": len(asked),
        "nothing": measure(lambda i: ""),
        "right story": measure(lambda i: texts[i]),
        "other story": measure(lambda i: texts[other[i]]),
        "look-alike": measure(lambda i: texts[lookalike[i]]),
    }
    for name, order in orders.items():
        results[name] = measure(lambda i, order=order: texts[int(order[i][0])])  # type: ignore[misc]
        results[name]["found"] = round(float(np.mean([int(order[i][0]) == i for i in asked])), 4)
    cases = {"found, right": 0, "found, wrong": 0, "missed, right": 0, "missed, wrong": 0}
    for i in asked:
        top = int(found[i][0])
        said = reader(texts[top], questions[i].text)[0]
        which = "found" if top == i else "missed"
        cases[f"{which}, {'right' if said == questions[i].answer else 'wrong'}"] += 1
    results["cases"] = cases
    results["answers from the look-alike"] = round(
        float(
            np.mean(
                [
                    reader(texts[lookalike[i]], questions[i].text)[0]
                    in {
                        q.answer
                        for q in world.questions(stories[lookalike[i]])
                        if q.text.split()[:2] == questions[i].text.split()[:2]
                        and q.text.split()[-1] == questions[i].text.split()[-1]
                    }
                    for i in asked
                ]
            )
        ),
        4,
    )
    for name, order_of in (("right first", (0, 1)), ("right last", (1, 0))):
        said_right = []
        for i in short:
            pair = [texts[i], texts[lookalike[i]]]
            text = " ".join(pair[j] for j in order_of)
            said_right.append(reader(text, questions[i].text)[0] == questions[i].answer)
        results[name] = round(float(np.mean(said_right)), 4) if short else None
    results["pairs"] = len(short)
    return results


# --- All of it ------------------------------------------------------------------------------------

TRIPLE = (
    "Then Mia gave Tom the ball.",
    "Then Mia gave the ball to Tom.",
    "Then Tom gave the ball to Mia.",
    "Then Tom took the ball to the lake.",
)


def flat(states: Array) -> Array:
    """All layers of each text side by side: (n, (L + 1) d)."""
    return states.reshape(len(states), -1)


def run(
    collection: int = 1000,
    queries: int = 400,
    pairs: int = 18_000,
    steps: int = 3000,
    asked: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Trains the projection, searches in all ways and answers.

    Args:
        collection: stories to search in (seed 11 of the world).
        queries: of each kind, one for each of the first stories.
        pairs: of a memory and its story, to train with (seed 12), half of them with names.
        steps: updates of the projection.
        asked: questions for the answerer.
        seed: of everything else.

    Returns:
        The numbers that ``results/search.json`` holds.
    """
    world = World()
    model, tokenizer = load_book_model()
    stories = world.stories(collection, 11)
    texts = [story.text for story in stories]
    learn = world.stories(pairs, 12)
    half = pairs // 2
    told = memories(world, learn[:half], 2, True) + memories(world, learn[half:], 3, False)
    learn_states = mean_states(model, tokenizer, [story.text for story in learn])
    projection, losses = train_projection(
        flat(mean_states(model, tokenizer, told)), flat(learn_states), steps, seed
    )

    states = mean_states(model, tokenizer, texts)
    document_vectors = projection.embed(flat(states))
    sparse = BM25(texts)
    results: dict[str, Any] = {
        "experiment": "search",
        "date": date.today().isoformat(),
        "seed": seed,
        "collection": collection,
        "pairs": pairs,
        "steps": steps,
        "batch": BATCH,
        "temperature": TEMPERATURE,
        "width": int(document_vectors.shape[1]),
        "loss": [
            round(float(np.mean(losses[i : i + max(1, steps // 20)])), 4)
            for i in range(0, steps, max(1, steps // 20))
        ],
        "searches": {},
        "fusion": {},
        "examples": {},
    }
    rng = np.random.default_rng(seed)
    weights = [round(0.1 * i, 1) for i in range(11)]
    pairs_of = np.array(
        [(i, (i + 1 + int(rng.integers(collection - 1))) % collection) for i in range(queries)]
    )
    for kind, names in (("with names", True), ("without names", False)):
        asked_for = memories(world, stories[:queries], 1, names)
        query_states = mean_states(model, tokenizer, asked_for)
        raw = cosine_similarity(query_states[:, -1], states[:, -1])
        centered = cosine_similarity(
            query_states[:, -1] - query_states[:, -1].mean(axis=0),
            states[:, -1] - states[:, -1].mean(axis=0),
        )
        trained = projection.embed(flat(query_states)) @ document_vectors.T
        orders = {
            "BM25": [by_score(sparse.scores(text)) for text in asked_for],
            "raw": [by_score(row) for row in raw],
            "centered": [by_score(row) for row in centered],
            "trained": [by_score(row) for row in trained],
        }
        orders["hybrid"] = [
            fused(a, b) for a, b in zip(orders["BM25"], orders["trained"], strict=True)
        ]
        found = {name: places(order, range(queries)) for name, order in orders.items()}
        results["searches"][kind] = {name: scores_of(place) for name, place in found.items()}
        by_weight = [
            places(
                [fused(a, b, w) for a, b in zip(orders["BM25"], orders["trained"], strict=True)],
                range(queries),
            )
            for w in weights
        ]
        results["fusion"][kind] = [scores_of(place)["mrr"] for place in by_weight]
        results["examples"][kind] = [
            {
                "story": i,
                "query": asked_for[i],
                "places": {name: int(place[i]) for name, place in found.items()},
                "by weight": [int(place[i]) for place in by_weight],
                "best": {name: orders[name][i][:15].tolist() for name in ("BM25", "trained")},
            }
            for i in worth_showing(found)
        ]
        if not names:
            edges = np.round(np.linspace(-0.6, 1.0, 33), 3)
            cosines: dict[str, Any] = {"edges": edges.tolist()}
            for name, table in (("raw", raw), ("trained", trained)):
                for which, chosen in (
                    ("right", table[np.arange(queries), np.arange(queries)]),
                    ("random", table[pairs_of[:, 0], pairs_of[:, 1]]),
                ):
                    cosines[f"{name} {which}"] = {
                        "counts": np.histogram(chosen, edges)[0].tolist(),
                        "mean": round(float(chosen.mean()), 4),
                    }
            results["cosines"] = cosines
        else:
            results["graph"] = approximate(
                np.concatenate([document_vectors, projection.embed(flat(learn_states))]),
                projection.embed(flat(query_states))[: min(100, queries)],
                seed,
            )
            results["graph_size"] = collection + pairs
    results["weights"] = weights
    sentences = mean_states(model, tokenizer, TRIPLE)
    results["gifts"] = {
        f"layer {layer}": tell_apart(model, tokenizer, lambda x, layer=layer: x[:, layer])  # type: ignore[misc]
        for layer in range(model.config.layers + 1)
    }
    results["gifts"]["trained"] = tell_apart(model, tokenizer, lambda x: projection.embed(flat(x)))
    results["triple"] = {
        "sentences": list(TRIPLE),
        "raw": np.round(
            cosine_similarity(sentences[:, -1], sentences[:, -1]).astype(float), 3
        ).tolist(),
    }
    e = projection.embed(flat(sentences))
    results["triple"]["trained"] = np.round((e @ e.T).astype(float), 3).tolist()
    results["book"] = read_and_answer(
        world, stories, texts, sparse, projection, states, asked, model, tokenizer, seed
    )
    return results


def read_and_answer(
    world: World,
    stories: Sequence[Any],
    texts: Sequence[str],
    sparse: BM25,
    projection: Projection,
    states: Array,
    asked: int,
    model: Transformer,
    tokenizer: Tokenizer,
    seed: int,
) -> dict[str, Any]:
    """Searches with a memory and a question about the same story, and answers from the result."""
    questions = one_question_each(world, stories[:asked], seed)
    told = memories(world, stories[:asked], 5, True)
    searched = [
        f"{memory} {question.text}" if question else memory
        for memory, question in zip(told, questions, strict=True)
    ]
    query_states = mean_states(model, tokenizer, searched)
    raw = cosine_similarity(query_states[:, -1], states[:, -1])
    trained = projection.embed(flat(query_states)) @ projection.embed(flat(states)).T
    orders = {
        "BM25": [by_score(sparse.scores(text)) for text in searched],
        "raw": [by_score(row) for row in raw],
        "trained": [by_score(row) for row in trained],
    }
    orders["hybrid"] = [fused(a, b) for a, b in zip(orders["BM25"], orders["trained"], strict=True)]
    reader = Reader(*load_answerer())
    results = open_book(world, reader, stories, questions, orders, seed)
    results["examples"] = [
        {
            "searched": searched[i],
            "question": questions[i].text,
            "answer": questions[i].answer,
            "found": int(orders["hybrid"][i][0]),
            "story": i,
            "said": reader(texts[int(orders["hybrid"][i][0])], questions[i].text)[0],
        }
        for i in range(min(12, asked))
        if questions[i]
    ]
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("search", run, __doc__, arguments)


if __name__ == "__main__":
    main()
