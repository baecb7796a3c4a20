"""Byte-pair encoding: lossless, deterministic, and the same as the `tokenizers` library's."""

import json
from collections import Counter
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from llm_primer.errors import PrimerError
from llm_primer.tokenizer import (
    BOOK_PATH,
    BOOK_VOCAB_SIZE,
    END,
    SPLIT,
    Tokenizer,
    pretokenize,
    train_book_tokenizer,
)
from llm_primer.world import World

SAMPLES = [
    "One day, Mia was in the kitchen.",
    "It's Zoë's naïve café — 12,345 things!\n\n  Two lines\tand a tab. ",
    "日本語 и русский 🙂🙂 ﷽",
    "don't we'll I'd they've  x",
    " ",
    "\n",
    "",
]


@pytest.fixture(scope="module")
def book():
    return Tokenizer.book()


@pytest.fixture(scope="module")
def corpus():
    return World().corpus(1500, seed=21)


@given(st.text())
def test_any_text_comes_back(text):
    tokenizer = Tokenizer.book()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.end_id for i in ids)
    assert "".join(pretokenize(text)) == text


@given(st.binary())
def test_any_bytes_come_back(data):
    tokenizer = Tokenizer.book()
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@given(st.lists(st.integers(0, 511)))
def test_any_ids_decode(ids):
    tokenizer = Tokenizer.book()
    assert tokenizer.decode_bytes(ids) == b"".join(map(tokenizer.token_bytes, ids))
    assert isinstance(tokenizer.decode(ids), str)


def byte_names():
    """GPT-2's printable stand-ins for the bytes, as the library writes its vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (b for b in range(256) if b not in printable)
    names = {b: chr(b) for b in printable}
    return names | {b: chr(256 + i) for i, b in enumerate(others)}


NAMES = byte_names()


def named(data):
    return "".join(NAMES[b] for b in data)


def splitter():
    return Sequence(
        [
            Split(tokenizers.Regex(SPLIT), behavior="isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def library(tokenizer):
    """The `tokenizers` library with our merges."""
    vocab = {named(tokenizer.token_bytes(i)): i for i in range(tokenizer.end_id)}
    merges = [
        (named(tokenizer.token_bytes(a)), named(tokenizer.token_bytes(b)))
        for a, b in tokenizer.merges
    ]
    made = tokenizers.Tokenizer(BPE(vocab, merges))
    made.pre_tokenizer = splitter()
    return made


def test_encoding_is_the_librarys(book, corpus):
    theirs = library(book)
    for text in [*SAMPLES, *corpus.splitlines()[:200], corpus[:20_000]]:
        assert book.encode(text) == theirs.encode(text).ids


@given(st.text())
def test_encoding_of_any_text_is_the_librarys(text):
    book = Tokenizer.book()
    assert book.encode(text) == _book_library().encode(text).ids


_LIBRARY = []


def _book_library():
    if not _LIBRARY:
        _LIBRARY.append(library(Tokenizer.book()))
    return _LIBRARY[0]


def merge(word, pair, joined):
    """A word (list of bytes objects) with every occurrence of the pair joined."""
    out = []
    for token in word:
        if out and (out[-1], token) == pair:
            out[-1] = joined
        else:
            out.append(token)
    return out


def test_training_is_the_librarys(corpus):
    """The same merges up to ties, which nothing decides but a rule of one's own.

    Ours takes, among equally frequent pairs, the one with the smallest ids; the library numbers the
    bytes differently. So the merges of both are replayed: each must be a most frequent pair at its
    turn, with the same count in both, until the first tie has led them apart for good.
    """
    ours = Tokenizer.train(corpus, 400)
    theirs = tokenizers.Tokenizer(BPE())
    theirs.pre_tokenizer = splitter()
    trainer = BpeTrainer(vocab_size=399, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    theirs.train_from_iterator([corpus], trainer)
    unnamed = {name: bytes([b]) for b, name in NAMES.items()}
    their_merges = [
        tuple(b"".join(unnamed[c] for c in side) for side in pair)
        for pair in json.loads(theirs.to_str())["model"]["merges"]
    ]
    our_merges = [tuple(ours.token_bytes(i) for i in pair) for pair in ours.merges]
    assert len(our_merges) == len(their_merges) == 143
    for merges in (our_merges, their_merges):
        words = {word: [bytes([b]) for b in word.encode()] for word in pretokenize(corpus)}
        times = Counter(pretokenize(corpus))
        for pair in merges:
            counts = Counter()
            for word, tokens in words.items():
                for neighbors in pairwise(tokens):
                    counts[neighbors] += times[word]
            assert counts[pair] == max(counts.values())
            joined = pair[0] + pair[1]
            words = {word: merge(tokens, pair, joined) for word, tokens in words.items()}
    assert our_merges[:27] == their_merges[:27]
    assert len(set(our_merges) & set(their_merges)) >= 0.9 * len(our_merges)


def test_training_by_hand():
    """The pair "ab" is most frequent, then its repetition; ties go to the smaller ids."""
    tokenizer = Tokenizer.train("abababab cab", 256 + 2 + 1)
    assert tokenizer.token_bytes(256) == b"ab"
    assert tokenizer.token_bytes(257) == b"abab"
    assert tokenizer.tokens("abababab") == ["abab", "abab"]
    assert Tokenizer.train("bd ac", 258).token_bytes(256) == b" a"


def test_training_stops_when_nothing_is_left_to_merge():
    tokenizer = Tokenizer.train("ab", 300)
    assert tokenizer.vocab_size == 258


def test_naive_training_gives_the_same_merges(corpus):
    """Against the algorithm as Sennrich, Haddow and Birch wrote it: count all pairs anew."""
    text = corpus[:3000]
    words = [list(word.encode()) for word in pretokenize(text)]
    merges = []
    for new_id in range(256, 320):
        counts = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for k, word in enumerate(words):
            i, out = 0, []
            while i < len(word):
                if tuple(word[i : i + 2]) == best:
                    out.append(new_id)
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            words[k] = out
    assert Tokenizer.train(text, 321).merges == merges


def test_no_token_crosses_the_end_of_a_sentence(book):
    for story in World().stories(50, seed=13):
        parts = [book.encode(story.sentences[0])]
        parts += [book.encode(" " + sentence) for sentence in story.sentences[1:]]
        assert book.encode(story.text) == [token for part in parts for token in part]
    assert book.encode("a.\nb") == [*book.encode("a."), 10, *book.encode("b")]


def test_the_books_tokenizer(book):
    assert book.vocab_size == BOOK_VOCAB_SIZE == 512
    assert book.end_id == 511
    assert book.decode([book.end_id]) == END
    assert [book.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
    assert book.tokens("Then Mia went to the kitchen.")[-3:] == [" the", " kitchen", "."]
    assert book.end_id not in book.encode(END)
    assert book.encode_document("a") == [511, *book.encode("a"), 511]


def test_the_books_tokenizer_can_be_made_again(tmp_path):
    train_book_tokenizer().save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == BOOK_PATH.read_bytes()


def test_saving_and_loading(tmp_path, book):
    path = tmp_path / "tokenizer.json"
    book.save(path)
    assert Tokenizer.load(path).merges == book.merges
    saved = path.read_bytes()
    Tokenizer.load(path).save(path)
    assert path.read_bytes() == saved


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'{"format": "other"}',
        b'{"format": "llm-primer-bpe"}',
        b'{"format": "llm-primer-bpe", "merges": [[1]]}',
        b'{"format": "llm-primer-bpe", "merges": [[97, 400]]}',
    ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(PrimerError, match="not a tokenizer") as caught:
        Tokenizer.load(path)
    assert "\n" not in str(caught.value)


def test_other_bad_input_is_refused(tmp_path, book):
    with pytest.raises(PrimerError, match="cannot read"):
        Tokenizer.load(tmp_path / "none.json")
    with pytest.raises(PrimerError, match="empty"):
        Tokenizer.train("", 300)
    with pytest.raises(PrimerError, match="257"):
        Tokenizer.train("abc", 100)
    with pytest.raises(PrimerError, match="not in the vocabulary"):
        book.decode([512])
    with pytest.raises(PrimerError, match="not in the vocabulary"):
        book.token_bytes(-1)
    with pytest.raises(PrimerError, match="Unicode"):
        book.encode("\ud800")
