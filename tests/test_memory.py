"""The neighbor memory: its odds by hand, and a fact that was only written down."""

from __future__ import annotations

import numpy as np
import pytest

from llm_primer import PrimerError
from llm_primer.memory import NeighborMemory, knn_distribution
from llm_primer.transformer import load_book_model


def test_neighbors_odds_by_hand():
    p = knn_distribution(np.array([0.0, np.log(2), np.log(4)]), np.array([3, 1, 3]), 5)
    assert np.allclose(p, [0, 2 / 7, 0, 5 / 7, 0])


def test_what_was_written_down_is_found_again():
    model, tokenizer = load_book_model()
    memory = NeighborMemory(model, tokenizer, k=1)
    ids = [tokenizer.end_id, *tokenizer.encode("One day, Mia was in the park.")]
    with pytest.raises(PrimerError):
        memory.next_token(ids)
    text = "One day, Mia was in the park. She got a letter from Zora in Oslo."
    memory.add([text])
    assert len(memory) == len(tokenizer.encode(text))
    away, entry = memory.neighbors(ids)
    assert away[0] == pytest.approx(0, abs=1e-3)
    assert memory.tokens[entry[0]] == tokenizer.encode(text)[len(ids) - 1]
    p = memory.next_token(ids, share=0.3)
    assert p.sum() == pytest.approx(1)
    assert p[memory.tokens[entry[0]]] >= 0.3
    far = memory.next_token([tokenizer.end_id, *tokenizer.encode("Tom")], share=0.9, within=1e-3)
    own = memory.next_token([tokenizer.end_id, *tokenizer.encode("Tom")], share=0.0)
    assert np.allclose(far, own)


def test_only_what_comes_after_a_beginning_is_written_down():
    model, tokenizer = load_book_model()
    begun, rest = "One day, Mia was in the park. She got a letter from Zora in", " Oslo."
    whole, part = (NeighborMemory(model, tokenizer, k=1) for _ in range(2))
    whole.add([begun + rest])
    part.add([rest], after=[begun])
    n = len(tokenizer.encode(rest))
    assert len(part) == n
    assert np.array_equal(part.tokens, whole.tokens[-n:])
    assert np.allclose(part.keys, whole.keys[-n:], atol=1e-4)
    with pytest.raises(PrimerError):
        part.add(["et."], after=["One day, Mia was in the park. She got a l"])


def test_the_odds_at_every_position_are_those_of_each_beginning():
    model, tokenizer = load_book_model()
    memory = NeighborMemory(model, tokenizer)
    memory.add(["One day, Tom was at the lake. He got a letter from Zora in Oslo."])
    ids = [tokenizer.end_id, *tokenizer.encode("One day, Ben was at the lake.")]
    table = memory.odds(ids, share=0.5, within=900.0)
    assert table.shape == (len(ids), tokenizer.vocab_size)
    for n in (1, 4, len(ids)):
        assert np.allclose(
            table[n - 1], memory.next_token(ids[:n], share=0.5, within=900.0), atol=1e-4
        )
