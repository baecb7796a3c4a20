"""Chapter 11 of Volume I: a mixture of experts beside dense models, on the small world.

Four small transformers read the same text: a dense one, a mixture whose tokens pass through as many
parameters as the dense one has, the same mixture without the push toward an even load, and a dense
one that uses for every token as many parameters as the whole mixture holds. Each is trained from
three seeds, since luck in training turned out to be no smaller than what sets them apart. Then the
mixture's router is asked which expert each token of some new stories went to, by kind of token and
by the place where the story begins.

    python -m llm_primer.experiments.experts

takes about twelve minutes on one core and writes ``results/experts.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from tqdm import tqdm

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.evaluation import bootstrap, story_losses
from llm_primer.experiments import store
from llm_primer.finetune import optimize
from llm_primer.moe import MixtureOfExperts, balance_loss, mixtures, use_experts
from llm_primer.nn import cross_entropy
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import encode_documents, window_starts, windows
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import ADJECTIVES, PEOPLE, PLACES, THINGS, World

EXPERTS, TOP_K, INNER, CONTEXT = 8, 2, 64, 128
#: What a token can be, by its text without the space; what is not listed is "other words".
KINDS: dict[str, Sequence[str]] = {
    "people": tuple(PEOPLE),
    "she, he, it": ("She", "He", "It", "she", "he", "it", "her", "him"),
    "things": tuple(THINGS),
    "adjectives": ADJECTIVES,
    "places": tuple(PLACES),
    "a, an, the": ("a", "an", "the", "The"),
    "in, on, at, to": ("in", "on", "at", "to", "with", "from"),
    "period": (".",),
}


def build(name: str, seed: int) -> Transformer:
    """One of the four models."""
    inner = {"dense": TOP_K * INNER, "dense, wide": EXPERTS * INNER}.get(name, INNER)
    model = Transformer(
        TransformerConfig(width=64, layers=2, heads=4, context=256, ff_width=inner), seed
    )
    if name.startswith("experts"):
        use_experts(model, EXPERTS, TOP_K, seed)
    return model


def active(model: Transformer) -> int:
    """How many parameters one token passes through."""
    idle = sum(m.num_parameters() - m.active_parameters() for m in mixtures(model))
    return model.num_parameters() - idle


def learn(
    model: Transformer, ids: Array, steps: int, batch: int, lr: float, push: float, seed: int
) -> None:
    """Trains a model, in place; ``push`` is the weight of the load-balancing loss."""
    starts = window_starts(ids, CONTEXT, Tokenizer.book().end_id)

    def loss_of(chosen: Array) -> Tensor:
        x, y = windows(ids, starts[chosen], CONTEXT)
        loss = cross_entropy(model(x), y)
        return loss + balance_loss(model) * push if push else loss

    optimize(
        model,
        loss_of,
        len(starts),
        steps=steps,
        batch_size=batch,
        lr=lr,
        seed=seed,
        weight_decay=0.1,
    )


def routes(model: Transformer, ids: Array) -> Array:
    """The experts (L, T, k) that each token of one sequence (T,) was sent to."""
    chosen = []
    with no_grad():
        x, angles = model.start(ids[None])
        for block in model.blocks:
            assert isinstance(block.ff, MixtureOfExperts)
            x = x + block.attn(block.attn_norm(x), angles)
            seen = block.ff_norm(x)
            scores = block.ff.router(seen).data[0]
            chosen.append(np.argsort(-scores, axis=-1, kind="stable")[:, : block.ff.top_k])
            x = x + block.ff(seen)
    return np.stack(chosen)


def kind_of(token: str) -> str:
    """Which of `KINDS` a token's text belongs to."""
    word = token.strip()
    return next((kind for kind, words in KINDS.items() if word in words), "other words")


def traffic(model: Transformer, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """How the tokens of some texts were spread over the experts, by kind of token.

    Returns:
        ``kinds`` their names, ``tokens`` how many there were of each; ``shares`` per layer, kind
        and expert, each row adding up to 1; ``load`` per layer and expert; ``by_place`` how far at
        most, in shares, any expert's load in the stories that begin at one place differs from its
        load in all (tokens that name a place are left out), and ``by_kind`` the same for kinds.
    """
    names = [*KINDS, "other words"]
    rooms = list(PLACES)
    there = np.zeros((len(model.blocks), len(rooms), EXPERTS))
    counts = np.zeros((len(model.blocks), len(names), EXPERTS))
    for text in texts:
        ids = tokenizer.encode(text)
        went = routes(model, np.array([tokenizer.end_id, *ids]))[:, 1:]
        room = min(rooms, key=lambda place: (text + place).index(place))
        for i, token in enumerate(ids):
            row = names.index(kind_of(tokenizer.decode([token])))
            for layer in range(len(counts)):
                counts[layer, row, went[layer, i]] += 1
                if names[row] != "places":
                    there[layer, rooms.index(room), went[layer, i]] += 1
    shares = counts / counts.sum(axis=2, keepdims=True).clip(1)
    load = counts.sum(axis=1) / counts.sum(axis=(1, 2))[:, None]

    def farthest(table: Array) -> float:
        loads = table / table.sum(axis=2, keepdims=True).clip(1)
        mean = table.sum(axis=1, keepdims=True) / table.sum(axis=(1, 2), keepdims=True)
        return round(float(np.abs(loads - mean)[table.sum(axis=2) > 0].max()), 3)

    return {
        "kinds": names,
        "tokens": (counts[0].sum(axis=1) / TOP_K).astype(int).tolist(),
        "shares": np.round(shares, 3).tolist(),
        "load": np.round(load, 3).tolist(),
        "by_place": farthest(there),
        "by_kind": farthest(counts),
    }


def run(
    stories: int = 15_000,
    steps: int = 1200,
    batch: int = 8,
    lr: float = 8e-3,
    push: float = 0.02,
    test_stories: int = 200,
    seeds: Sequence[int] = (0, 1, 2),
    progress: bool = True,
) -> dict[str, Any]:
    """Trains the four models, several times each, and measures them.

    Args:
        stories: to train on (seed 1 of the world).
        steps: updates for each model.
        batch: windows per update.
        lr: the peak learning rate.
        push: the weight of the load-balancing loss.
        test_stories: whose loss is measured and whose tokens are followed (seed 3).
        seeds: of first weights and batches, one for each time; the traffic is that of the first.
        progress: shows a progress bar on stderr.

    Returns:
        The numbers that ``results/experts.json`` holds; for each model and seed the loss above the
        floor, and by how much it is ``more`` than the dense model's of the same seed on the same
        stories, with interval over the stories.
    """
    world, tokenizer = World(), Tokenizer.book()
    ids = encode_documents([s.text for s in world.stories(stories, 1)], tokenizer)
    texts = [s.text for s in world.stories(test_stories, 3)]
    lengths = np.array([len(tokenizer.encode(text)) + 1 for text in texts])
    floor = np.array([-world.log_prob(text) for text in texts])
    names = ("dense", "experts", "experts, no push", "dense, wide")
    models: list[dict[str, Any]] = [{"name": name, "gaps": [], "more": []} for name in names]
    followed: dict[str, Any] = {}
    bar = tqdm(total=len(seeds) * len(names), disable=not progress, unit="model")
    for seed in seeds:
        dense = np.zeros(len(texts))
        for row in models:
            name = row["name"]
            model = build(name, seed)
            learn(model, ids, steps, batch, lr, push if name == "experts" else 0.0, seed)
            losses = np.array([one.sum() for one in story_losses(model, tokenizer, texts)])
            dense = losses if name == "dense" else dense
            # The same stories for all, so that the difference is taken on each.
            pairs = np.stack([losses - dense, lengths], axis=1)
            more = bootstrap(pairs, lambda r: float(r[:, 0].sum() / r[:, 1].sum()))
            row["parameters"], row["active"] = model.num_parameters(), active(model)
            row["gaps"].append(round(float((losses - floor).sum() / lengths.sum()), 4))
            row["more"].append([round(v, 4) for v in (more.estimate, more.low, more.high)])
            if name.startswith("experts") and name not in followed:
                followed[name] = traffic(model, tokenizer, texts)
            bar.update()
    bar.close()
    return {
        "experiment": "experts",
        "date": date.today().isoformat(),
        "seeds": list(seeds),
        "experts": EXPERTS,
        "top_k": TOP_K,
        "steps": steps,
        "tokens": steps * batch * CONTEXT,
        "push": push,
        "models": models,
        "traffic": followed,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("experts", run, __doc__, arguments)


if __name__ == "__main__":
    main()
