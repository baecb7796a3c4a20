"""From logits to tokens: greedy choice, temperature, top-k, top-p, min-p, and beam search.

A language model hands out scores for the next token. What is written depends just as much on how a
token is chosen from them. The filters here take logits and return logits, with -∞ where a token is
ruled out, so that they can be chained and looked at; `probabilities` chains them in the usual
order, and `generate` writes with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError
from llm_primer.nn import log_softmax_array, softmax_array
from llm_primer.transformer import KVCache, Transformer

# --- Filters: logits in, logits out ---------------------------------------------------------------


def apply_temperature(logits: Array, temperature: float) -> Array:
    """Logits over τ: z / τ. Below 1 the likely tokens gain, above 1 the unlikely ones.

    Args:
        logits: (..., V).
        temperature: τ > 0; for the limit τ → 0 see `greedy`.

    Returns:
        (..., V), whose softmax is proportional to p^(1/τ).

    Raises:
        PrimerError: τ is not a positive number.
    """
    if not 0 < temperature < np.inf:
        raise PrimerError(f"The temperature must be a positive number, not {temperature}.")
    return logits / temperature


def top_k_filter(logits: Array, k: int) -> Array:
    """Keeps the k largest logits and sets the others to -∞ (Fan et al., arXiv:1805.04833).

    Args:
        logits: (..., V).
        k: how many tokens stay, at least 1; of equal logits those with the smaller id stay.

    Returns:
        (..., V).

    Raises:
        PrimerError: k is below 1.
    """
    if k < 1:
        raise PrimerError(f"top-k must keep at least 1 token, not {k}.")
    ranks = _ranks(logits)
    return np.where(ranks < k, logits, -np.inf)


def top_p_filter(logits: Array, p: float) -> Array:
    """Keeps the nucleus: the fewest most likely tokens whose probabilities reach p together.

    Holtzman et al. (arXiv:1904.09751), section 3.1. The most likely token always stays.

    Args:
        logits: (..., V).
        p: the share of the probability to keep, 0 < p ≤ 1.

    Returns:
        (..., V), -∞ outside the nucleus.

    Raises:
        PrimerError: p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise PrimerError(f"top-p must lie above 0 and at most at 1, not at {p}.")
    if p == 1:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    sorted_p = np.take_along_axis(softmax_array(logits.astype(np.float64)), order, axis=-1)
    reached_before = np.cumsum(sorted_p, axis=-1) - sorted_p
    kept = np.empty(logits.shape, bool)
    np.put_along_axis(kept, order, reached_before < p, axis=-1)
    return np.where(kept, logits, -np.inf)


def min_p_filter(logits: Array, p: float) -> Array:
    """Keeps tokens at least p times as likely as the most likely one (arXiv:2407.01082).

    Nguyen et al. call p·max the scaled threshold: strict where the model is sure, lenient where it
    is not. In logits the rule needs no softmax: z ≥ max z + ln p.

    Args:
        logits: (..., V).
        p: the share of the largest probability, 0 < p ≤ 1.

    Returns:
        (..., V), -∞ below the threshold.

    Raises:
        PrimerError: p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise PrimerError(f"min-p must lie above 0 and at most at 1, not at {p}.")
    return np.where(logits >= logits.max(axis=-1, keepdims=True) + np.log(p), logits, -np.inf)


def greedy(logits: Array) -> Array:
    """The most likely token: (..., V) to (...) ids; of equal logits the smaller id."""
    return np.argmax(logits, axis=-1)


def _ranks(logits: Array) -> Array:
    """The place of every logit from the largest down, counted from 0; same shape."""
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(logits.shape[-1]), axis=-1)
    return ranks


# --- One token ------------------------------------------------------------------------------------


def probabilities(
    logits: Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Array:
    """The distribution that is sampled from: temperature first, then top-k, top-p, min-p, softmax.

    Args:
        logits: (..., V).
        temperature: τ ≥ 0; 0 puts all probability on the largest logit.
        top_k: k for `top_k_filter`, or None.
        top_p: p for `top_p_filter`, or None.
        min_p: p for `min_p_filter`, or None.

    Returns:
        (..., V) float64; every row sums to 1.

    Raises:
        PrimerError: a setting makes no sense, or the logits hold NaN.
    """
    z = np.asarray(logits, dtype=np.float64)
    if np.isnan(z).any():
        raise PrimerError("The logits hold NaN: the model's weights are damaged.")
    z = top_k_filter(z, 1) if temperature == 0 else apply_temperature(z, temperature)
    if top_k is not None:
        z = top_k_filter(z, top_k)
    if top_p is not None:
        z = top_p_filter(z, top_p)
    if min_p is not None:
        z = min_p_filter(z, min_p)
    return softmax_array(z)


def draw(distribution: Array, rng: np.random.Generator) -> Array:
    """One token from every row of (..., V) probabilities, by the inverse of the running sum.

    A number u is drawn evenly from [0, 1); the answer is the first token at which the running sum
    of the probabilities exceeds u. A token of probability 0 is never chosen.

    Returns:
        (...) ids.
    """
    running = np.cumsum(distribution, axis=-1)
    u = rng.random(distribution.shape[:-1])[..., None]
    # The next smaller float keeps u · total below the total where the product would round up to it.
    return (running <= u * np.nextafter(running[..., -1:], 0)).sum(axis=-1)


# --- A whole text ---------------------------------------------------------------------------------


def generate(
    model: Any,
    prompt: Sequence[int],
    max_tokens: int | None = None,
    *,
    seed: int | np.random.Generator = 0,
    stop: int | None = None,
    use_cache: bool = True,
    **settings: Any,
) -> list[int]:
    """Continues a prompt token by token.

    Args:
        model: anything with ``logits(ids)``; a `Transformer` writes with its key-value cache.
        prompt: at least one id (for a fresh story the tokenizer's ``end_id``).
        max_tokens: how many to add at most; None for as many as the model's context allows.
        seed: a number, or a generator that goes on.
        stop: an id that ends the text (it is not returned), or None.
        use_cache: False recomputes everything at every step; the tokens are the same.
        **settings: ``temperature``, ``top_k``, ``top_p``, ``min_p`` as in `probabilities`.

    Returns:
        The new ids, without prompt and stop token.

    Raises:
        PrimerError: an empty prompt, one longer than the context, or a setting without sense.
    """
    return list(
        stream(model, prompt, max_tokens, seed=seed, stop=stop, use_cache=use_cache, **settings)
    )


def stream(
    model: Any,
    prompt: Sequence[int],
    max_tokens: int | None = None,
    *,
    seed: int | np.random.Generator = 0,
    stop: int | None = None,
    use_cache: bool = True,
    **settings: Any,
) -> Iterator[int]:
    """Like `generate`, but hands out each token as soon as it is chosen."""
    for step in _steps(model, prompt, 1, max_tokens, seed, use_cache, settings):
        token = int(step[0])
        if token == stop:
            return
        yield token


def generate_many(
    model: Any,
    prompt: Sequence[int],
    n: int,
    max_tokens: int | None = None,
    *,
    seed: int | np.random.Generator = 0,
    stop: int | None = None,
    use_cache: bool = True,
    **settings: Any,
) -> list[list[int]]:
    """Writes n continuations of one prompt side by side, much faster than one after another.

    Arguments as for `generate`. A text that has ended waits for the others, so all random numbers
    are drawn as if it went on.
    """
    texts: list[list[int]] = [[] for _ in range(n)]
    going = np.ones(n, bool)
    for step in _steps(model, prompt, n, max_tokens, seed, use_cache, settings):
        if stop is not None:
            going &= step != stop
        for i in np.flatnonzero(going):
            texts[i].append(int(step[i]))
        if not going.any():
            break
    return texts


def _steps(
    model: Any,
    prompt: Sequence[int],
    n: int,
    max_tokens: int | None,
    seed: int | np.random.Generator,
    use_cache: bool,
    settings: dict[str, Any],
) -> Iterator[Array]:
    """The next tokens (n,) of n texts that begin with ``prompt``, up to the limits."""
    rng = np.random.default_rng(seed)
    if len(prompt) == 0:
        raise PrimerError("A prompt needs at least one token.")
    room = _room(model, len(prompt))
    if max_tokens is None and room is None:
        raise PrimerError("This model has no longest context; say how many tokens to write.")
    limit = min(x for x in (max_tokens, room) if x is not None)
    ids = np.tile(np.asarray(prompt, dtype=np.int64), (n, 1))
    cached = use_cache and isinstance(model, Transformer)
    cache = KVCache(model.config, n) if cached else None
    new = ids
    for _ in range(limit):
        logits = model.logits(new, cache=cache) if cached else model.logits(ids)
        token = draw(probabilities(logits[:, -1], **settings), rng)
        yield token
        new = token[:, None]
        if not cached:
            ids = np.concatenate([ids, new], axis=1)


def _room(model: Any, used: int) -> int | None:
    """How many tokens still fit after ``used`` ones; None for a model without a limit.

    The last token written need not be read again, hence the 1.
    """
    if not isinstance(model, Transformer):
        return None
    if used > model.config.context:
        raise PrimerError(
            f"The prompt has {used} tokens, but the model's context is {model.config.context}."
        )
    return model.config.context - used + 1


# --- Beam search ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beam:
    """A text that beam search found.

    Attributes:
        ids: the new tokens, without prompt, with the stop token if it came.
        log_prob: ln p(ids | prompt) in nats.
        ended: whether it ends with the stop token.
    """

    ids: tuple[int, ...]
    log_prob: float
    ended: bool = False

    def score(self, length_penalty: float) -> float:
        """log_prob / length^penalty: 0 compares sums, 1 compares averages per token."""
        return self.log_prob / len(self.ids) ** length_penalty


def beam_search(
    model: Any,
    prompt: Sequence[int],
    width: int,
    max_tokens: int,
    *,
    stop: int | None = None,
    length_penalty: float = 0.0,
) -> list[Beam]:
    """Looks for the most probable continuation, keeping the ``width`` best beginnings at each step.

    Width 1 is greedy decoding; a width of V^(max_tokens - 1) is exhaustive. In between the search
    is a heuristic: the best text may have a beginning that looked worse than ``width`` others.

    Args:
        model: anything with ``logits(ids)``.
        prompt: at least one id.
        width: how many beginnings are kept, at least 1.
        max_tokens: the longest continuation.
        stop: an id that ends a text, or None.
        length_penalty: exponent of the length by which a sum of log-probabilities is divided.

    Returns:
        At most ``width`` texts, the best first.

    Raises:
        PrimerError: an empty prompt, no room in the context, or a width below 1.
    """
    if width < 1 or max_tokens < 1:
        raise PrimerError("Beam search needs a width and a length of at least 1.")
    if len(prompt) == 0:
        raise PrimerError("A prompt needs at least one token.")
    room = _room(model, len(prompt))
    if room is not None and max_tokens > room:
        raise PrimerError(
            f"{len(prompt)} tokens of prompt and {max_tokens} new ones do not fit the model's "
            f"context of {model.config.context}."
        )
    beams = [Beam((), 0.0)]
    ended: list[Beam] = []
    cache = KVCache(model.config, 1) if isinstance(model, Transformer) else None
    new = ids = np.asarray(prompt, dtype=np.int64)[None]
    for _ in range(max_tokens):
        logits = model.logits(ids) if cache is None else model.logits(new, cache=cache)
        totals = log_softmax_array(logits[:, -1].astype(np.float64))
        totals += np.array([[b.log_prob] for b in beams])
        vocabulary = totals.shape[1]
        # A stop token uses up one of the best, so 2 · width always leaves ``width`` that go on.
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * width]
        grown: list[tuple[int, Beam]] = []
        for row, token in zip(*np.divmod(best, vocabulary), strict=True):
            beam = Beam((*beams[row].ids, int(token)), float(totals[row, token]), token == stop)
            if beam.ended:
                ended.append(beam)
            elif len(grown) < width:
                grown.append((int(row), beam))
        ended = sorted(ended, key=lambda b: -b.score(length_penalty))[:width]
        rows, beams = np.array([row for row, _ in grown]), [beam for _, beam in grown]
        # Sums only fall: without a penalty no beginning can overtake texts that already lead it.
        settled = len(ended) == width and length_penalty == 0
        if not beams or (settled and ended[-1].log_prob >= beams[0].log_prob):
            break
        new = np.array([[beam.ids[-1]] for beam in beams])
        ids = np.concatenate([ids[rows], new], axis=1)
        if cache is not None:
            cache = cache.select(rows)
    return sorted([*ended, *beams], key=lambda b: -b.score(length_penalty))[:width]
