"""Search: BM25 against scikit-learn's counts, vectors against NearestNeighbors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine
from sklearn.neighbors import NearestNeighbors

from llm_primer import retrieval
from llm_primer.errors import PrimerError

DOCUMENTS = [
    "Anna has the red ball. Anna is in the kitchen.",
    "Ben went to the garden and found a red, red cup!",
    "The cup is in the kitchen; the ball is in the garden.",
    "Clara gave the book to Ben because Ben was sad.",
    "Émile cherche le chat.",
    "",
]


def bm25_by_scikit_learn(documents, query, k1, b):
    """The formula of Robertson and Zaragoza from a matrix of counts, without an inverted index."""
    counter = CountVectorizer(token_pattern=r"(?u)[^\W_]+")
    tf = counter.fit_transform(documents).toarray().astype(float)
    n = len(documents)
    m = (tf > 0).sum(axis=0)
    idf = np.log(1 + (n - m + 0.5) / (m + 0.5))
    length = tf.sum(axis=1, keepdims=True)
    below = tf + k1 * (1 - b + b * length / length.mean())
    weight = np.divide(tf * (k1 + 1), below, out=np.zeros_like(tf), where=tf > 0)
    return weight * idf @ counter.transform([query]).toarray()[0]


@pytest.mark.parametrize(
    "query", ["red ball", "the cup in the KITCHEN", "ben ben", "chat émile", "zz"]
)
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.0), (0.5, 1.0), (0.0, 0.5)])
def test_bm25_equals_the_formula_over_scikit_learns_counts(query, k1, b):
    got = retrieval.BM25(DOCUMENTS, k1, b).scores(query)
    np.testing.assert_allclose(got, bm25_by_scikit_learn(DOCUMENTS, query, k1, b), rtol=1e-12)


def test_bm25_by_hand():
    """Two documents of two words each: length normalization is 1 and idf is ln 2 for one in two."""
    index = retrieval.BM25(["red ball", "blue ball"], k1=1.2, b=0.75)
    assert index.idf("red") == pytest.approx(np.log(2))
    assert index.scores("red")[0] == pytest.approx(np.log(2) * 1 * 2.2 / (1 + 1.2))
    assert index.search("red") == [(0, pytest.approx(np.log(2)))]
    assert index.search("green") == []


def test_vector_search_equals_nearest_neighbors():
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(200, 16)), rng.normal(size=(7, 16))
    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(vectors)
    distances, numbers = reference.kneighbors(queries)
    index = retrieval.VectorIndex(vectors)
    for query, near, who in zip(queries, distances, numbers, strict=True):
        found = index.search(query, 5)
        assert [i for i, _ in found] == who.tolist()
        np.testing.assert_allclose([s for _, s in found], 1 - near, atol=1e-12)
    np.testing.assert_allclose(
        retrieval.cosine_similarity(queries, vectors), sklearn_cosine(queries, vectors), atol=1e-12
    )


def test_a_vector_of_zeros_is_near_to_nothing():
    index = retrieval.VectorIndex(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert index.search(np.array([1.0, 0.0])) == [(1, pytest.approx(0.5**0.5)), (0, 0.0)]


def test_fusion_by_hand():
    fused = retrieval.reciprocal_rank_fusion([[7, 3, 5], [3, 9]])
    assert [i for i, _ in fused] == [3, 7, 9, 5]
    assert dict(fused) == pytest.approx({3: 1 / 62 + 1 / 61, 7: 1 / 61, 9: 1 / 62, 5: 1 / 63})


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=4))
def test_fusion_keeps_every_document_and_agrees_where_all_agree(rankings):
    fused = [i for i, _ in retrieval.reciprocal_rank_fusion(rankings)]
    assert sorted(fused) == list(range(6))
    assert [i for i, _ in retrieval.reciprocal_rank_fusion([rankings[0]] * 3)] == list(rankings[0])


def test_hybrid_search_finds_what_either_search_finds():
    def letters(texts):
        return np.array([[t.lower().count(c) + 1e-9 for c in "abcdefghijklmnop"] for t in texts])

    index = retrieval.HybridIndex(DOCUMENTS[:4], letters)
    assert index.search("red ball", 4)[0][0] == 0
    assert {i for i, _ in index.search("book", 4)} == {0, 1, 2, 3}


def test_measures_by_hand():
    assert retrieval.recall_at_k([4, 2, 9], [2, 7], 2) == 0.5
    assert retrieval.recall_at_k([4, 2, 9], [2, 7], 1) == 0
    assert retrieval.reciprocal_rank([4, 2, 9], [9, 2]) == 0.5
    assert retrieval.reciprocal_rank([4], [1]) == 0


def test_mean_embedding_is_the_mean_of_the_hidden_states():
    class Model:
        def hidden_states(self, ids):
            return np.stack([np.stack([ids, ids**2], axis=1), np.ones((len(ids), 2))]).astype(float)

    class Letters:
        def encode(self, text):
            return [ord(c) for c in text]

    got = retrieval.mean_embedding(Model(), Letters(), ["ab", "c"], layer=0)
    np.testing.assert_allclose(got, [[97.5, (97**2 + 98**2) / 2], [99, 99**2]])
    with pytest.raises(PrimerError, match="empty text"):
        retrieval.mean_embedding(Model(), Letters(), [""])


@pytest.mark.parametrize(
    "make",
    [
        lambda: retrieval.BM25([]),
        lambda: retrieval.BM25(["a"], k1=-1),
        lambda: retrieval.BM25(["a"], b=2),
        lambda: retrieval.VectorIndex(np.zeros((0, 3))),
        lambda: retrieval.VectorIndex(np.array([[np.nan]])),
        lambda: retrieval.VectorIndex(np.ones((2, 3))).search(np.ones(4)),
        lambda: retrieval.recall_at_k([1], [], 1),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(PrimerError):
        make()
