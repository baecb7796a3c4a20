"""Finding texts: by shared words (BM25), by nearness of vectors, and by both at once.

Retrieval-augmented generation stands or falls with this step. BM25 counts words and knows nothing
of meaning; dense search compares vectors and knows nothing of exact words. Reciprocal rank fusion
joins the two orders without having to compare their scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import regex

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError

Ranking = list[tuple[int, float]]  # (number of the document, score), the best first

_WORD = regex.compile(r"[\p{L}\p{N}]+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case: runs of letters and digits."""
    return _WORD.findall(text.lower())


def _best(scores: Array, k: int) -> Ranking:
    """The k highest scores; equal ones in the order of the documents."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [(int(i), float(scores[i])) for i in order]


class BM25:
    """Okapi BM25 (Robertson and Zaragoza, 2009, doi:10.1561/1500000019, section 3.4).

    A document's score is a sum over the query's words::

        idf(w) · f (k₁ + 1) / (f + k₁ (1 - b + b · length / average length))

    f is how often the word stands in the document. k₁ says how quickly more of the same stops
    helping, b how strongly long documents are held back. idf(w) = ln(1 + (n - m + ½) / (m + ½)) for
    a word in m of n documents: the usual form, whose 1 keeps words in more than half of all
    documents from counting against a document.

    Args:
        documents: the texts.
        k1: k₁ ≥ 0.
        b: between 0 and 1.
        split: how a text becomes words.

    Raises:
        PrimerError: there is no document, or k₁ or b makes no sense.
    """

    def __init__(
        self,
        documents: Sequence[str],
        k1: float = 1.2,
        b: float = 0.75,
        split: Callable[[str], list[str]] = words,
    ) -> None:
        if not documents:
            raise PrimerError("There are no documents to search.")
        if k1 < 0 or not 0 <= b <= 1:
            raise PrimerError(f"BM25 needs k1 >= 0 and b between 0 and 1, not {k1} and {b}.")
        self.split, self.k1 = split, k1
        counts = [Counter(split(text)) for text in documents]
        self.lengths = np.array([sum(c.values()) for c in counts], dtype=np.float64)
        average = self.lengths.mean() or 1.0
        self._held_back = k1 * (1 - b + b * self.lengths / average)
        # The inverted index: for every word the documents that have it, and how often.
        self.postings: dict[str, tuple[Array, Array]] = {}
        found: dict[str, list[tuple[int, int]]] = {}
        for i, count in enumerate(counts):
            for word, times in count.items():
                found.setdefault(word, []).append((i, times))
        for word, pairs in found.items():
            where, times = np.array(pairs).T
            self.postings[word] = (where, times.astype(np.float64))

    def idf(self, word: str) -> float:
        """How rare a word is: ln(1 + (n - m + ½) / (m + ½)), where m of n documents have it."""
        n = len(self.lengths)
        m = len(self.postings[word][0]) if word in self.postings else 0
        return float(np.log1p((n - m + 0.5) / (m + 0.5)))

    def scores(self, query: str) -> Array:
        """The score of every document, (n,); a word that stands twice in the query counts twice."""
        total = np.zeros(len(self.lengths))
        for word in self.split(query):
            if word in self.postings:
                where, times = self.postings[word]
                saturated = times * (self.k1 + 1) / (times + self._held_back[where])
                total[where] += self.idf(word) * saturated
        return total

    def search(self, query: str, k: int = 10) -> Ranking:
        """The k best documents that share at least one word with the query."""
        return [(i, s) for i, s in _best(self.scores(query), k) if s > 0]


def cosine_similarity(u: Array, v: Array) -> Array:
    """The cosine u vᵀ / (‖u‖ ‖v‖): rows (m, d) against rows (n, d) give (m, n), each from -1 to 1.

    A row of zeros has no direction; its similarity to everything is 0.
    """
    return _unit(u) @ _unit(v).T


def _unit(rows: Array) -> Array:
    """Every row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


class VectorIndex:
    """Exact search among vectors by cosine similarity.

    All documents are compared with the query, which is one matrix product: n · d multiplications.

    Args:
        vectors: (n, d), one row per document.

    Raises:
        PrimerError: ``vectors`` is not a table, is empty, or holds NaN or infinity.
    """

    def __init__(self, vectors: Array) -> None:
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or vectors.size == 0:
            raise PrimerError(f"An index needs a table (documents, d), not shape {vectors.shape}.")
        if not np.isfinite(vectors).all():
            raise PrimerError("The vectors hold NaN or infinity.")
        self.units = _unit(vectors)

    def search(self, query: Array, k: int = 10) -> Ranking:
        """The k documents whose vectors point most nearly where ``query`` (d,) does.

        Raises:
            PrimerError: the query has another number of dimensions.
        """
        query = np.asarray(query)
        if query.shape != self.units.shape[1:]:
            raise PrimerError(
                f"The query has shape {query.shape}, the index holds vectors of "
                f"{self.units.shape[1]} numbers."
            )
        return _best(self.units @ _unit(query), k)


def mean_embedding(model: Any, tokenizer: Any, texts: Sequence[str], layer: int = -1) -> Array:
    """One vector per text: the mean of its tokens' hidden states in a layer of a language model.

    A model that was trained to continue text was not trained to place texts, so that this is a
    baseline and not a good embedding; all its vectors share a large common part, which
    ``vectors - vectors.mean(axis=0)`` takes away.

    Args:
        model: with ``hidden_states(ids)`` of shape (L + 1, T, d).
        tokenizer: with ``encode``.
        texts: each with at least one token.
        layer: which states; 0 are the bare token embeddings, -1 the last.

    Returns:
        (len(texts), d).

    Raises:
        PrimerError: a text is empty or longer than the model's context.
    """
    rows = []
    for text in texts:
        ids = tokenizer.encode(text)
        if not ids:
            raise PrimerError("An empty text has no embedding.")
        rows.append(model.hidden_states(np.array(ids))[layer].mean(axis=0))
    return np.stack(rows)


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], k: float = 60.0) -> Ranking:
    """Joins several orders into one: a document's score is Σ 1 / (k + its place in each order).

    Cormack, Clarke and Büttcher (2009, doi:10.1145/1571941.1572114), who chose k = 60. Places count
    from 1; a document that an order leaves out gets nothing from it.

    Args:
        rankings: orders of document numbers, the best first.
        k: the larger, the less the first places stand out.

    Returns:
        All documents that occur, the best first; of equals the smaller number first.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, document in enumerate(ranking, start=1):
            scores[document] = scores.get(document, 0.0) + 1 / (k + place)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


class HybridIndex:
    """BM25 and vector search side by side, joined by `reciprocal_rank_fusion`.

    Args:
        documents: the texts.
        embed: takes texts, gives one vector for each, (n, d).
        depth: how many results of each search are joined.
    """

    def __init__(
        self, documents: Sequence[str], embed: Callable[[Sequence[str]], Array], depth: int = 50
    ) -> None:
        self.sparse = BM25(documents)
        self.embed, self.depth = embed, depth
        self.dense = VectorIndex(embed(documents))

    def search(self, query: str, k: int = 10) -> Ranking:
        """The k best documents for a query."""
        by_words = self.sparse.search(query, self.depth)
        by_vector = self.dense.search(self.embed([query])[0], self.depth)
        orders = [[i for i, _ in ranking] for ranking in (by_words, by_vector)]
        return reciprocal_rank_fusion(orders)[:k]


def recall_at_k(found: Sequence[int], relevant: Sequence[int], k: int) -> float:
    """The share of the relevant documents that stand among the first k found.

    Raises:
        PrimerError: no document is relevant, so that there is nothing to recall.
    """
    if not relevant:
        raise PrimerError("Recall is not defined where no document is relevant.")
    return len(set(found[:k]) & set(relevant)) / len(set(relevant))


def reciprocal_rank(found: Sequence[int], relevant: Sequence[int]) -> float:
    """1 / place of the first relevant document found; 0 if there is none. Its mean is the MRR."""
    wanted = set(relevant)
    return next((1 / place for place, i in enumerate(found, start=1) if i in wanted), 0.0)
