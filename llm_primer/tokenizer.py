"""Byte-level byte-pair encoding (BPE).

Text becomes bytes (UTF-8), so that any text at all can be encoded with 256 base tokens; then pairs
of neighboring tokens that are frequent in the training text are merged into new tokens, most
frequent first. Merging pairs for translation: Sennrich, Haddow and Birch (2016, ACL P16-1162,
Algorithm 1). Bytes as the base vocabulary, and the split into words that no merge may cross:
Radford et al. (2019, "Language Models are Unsupervised Multitask Learners", section 2.2).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import regex

from llm_primer.errors import PrimerError

END = "<|end|>"

#: Where text is cut before merging: contractions, words, numbers and runs of other signs, each with
#: the space before it; a newline on its own; other white space. As GPT-2's, but for the newline.
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\n|[^\S\n]+(?!\S)|[^\S\n]+"
_SPLIT = regex.compile(SPLIT)

Pair = tuple[int, int]

#: How many different pieces a tokenizer remembers; text repeats its words, so few suffice.
_CACHE_SIZE = 100_000

BOOK_PATH = Path(__file__).parent / "data" / "tokenizer.json"
BOOK_VOCAB_SIZE = 512
BOOK_STORIES = 20_000
BOOK_SEED = 1


def pretokenize(text: str) -> list[str]:
    """Cut a text into the pieces that merges never cross; joined, they are the text again."""
    return _SPLIT.findall(text)


class Tokenizer:
    """A vocabulary of byte strings and the merges that made it.

    Ids 0 to 255 are the single bytes, then come the merged tokens in the order of their making;
    the last id is the special token `<|end|>`, which stands between documents and is never
    produced by `encode`.
    """

    def __init__(self, merges: Sequence[Pair]) -> None:
        """A tokenizer with these merges.

        Raises:
            PrimerError: a merge names a token that does not exist yet.
        """
        self.merges = [(int(left), int(right)) for left, right in merges]
        self._bytes = [bytes([i]) for i in range(256)]
        for left, right in self.merges:
            if not (0 <= left < len(self._bytes) and 0 <= right < len(self._bytes)):
                raise PrimerError(f"merge ({left}, {right}) names a token that does not exist yet")
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._rank = {pair: 256 + i for i, pair in enumerate(self.merges)}
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of token ids, `<|end|>` included."""
        return len(self._bytes) + 1

    @property
    def end_id(self) -> int:
        """The id of `<|end|>`."""
        return len(self._bytes)

    # ---------------------------------------------------------------- training

    @classmethod
    def train(cls, text: str, vocab_size: int) -> Tokenizer:
        """Learn merges from a text until the vocabulary has `vocab_size` ids in all.

        Each step merges the pair of neighboring tokens that occurs most often, counted with
        multiplicity over all pieces of the text. Ties go to the pair with the smaller ids, so that
        the result depends on nothing but the text. Stops early when no pair is left.

        Raises:
            PrimerError: the text is empty, or `vocab_size` is below 257.
        """
        if not text:
            raise PrimerError("cannot train a tokenizer on an empty text")
        if vocab_size < 257:
            raise PrimerError(f"vocabulary of {vocab_size}: the 256 bytes and {END} need 257")
        counts = Counter(pretokenize(text))
        words = [list(word.encode()) for word in counts]
        times = list(counts.values())
        pairs: Counter[Pair] = Counter()
        where: defaultdict[Pair, set[int]] = defaultdict(set)
        for i, word in enumerate(words):
            for pair in pairwise(word):
                pairs[pair] += times[i]
                where[pair].add(i)
        merges: list[Pair] = []
        while 257 + len(merges) < vocab_size:
            best = max(pairs, key=lambda p: (pairs[p], -p[0], -p[1]), default=None)
            if best is None or pairs[best] == 0:
                break
            new_id = 256 + len(merges)
            merges.append(best)
            for i in where.pop(best):
                old, new = words[i], _merge(words[i], best, new_id)
                for pair in pairwise(old):
                    pairs[pair] -= times[i]
                for pair in pairwise(new):
                    pairs[pair] += times[i]
                    where[pair].add(i)
                words[i] = new
            del pairs[best]
        return cls(merges)

    # ---------------------------------------------------------------- encoding

    def encode(self, text: str) -> list[int]:
        """The token ids of a text; lossless for every string that UTF-8 can hold.

        Raises:
            PrimerError: the string holds a lone surrogate, which no UTF-8 text can.
        """
        ids: list[int] = []
        for piece in _SPLIT.findall(text):
            known = self._cache.get(piece)
            ids += self._encode_piece(piece) if known is None else known
        return ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """The token ids of arbitrary bytes: as `encode` where they are UTF-8, byte by byte else."""
        try:
            return self.encode(data.decode())
        except UnicodeDecodeError:
            return list(data)

    def _encode_piece(self, piece: str) -> list[int]:
        """Apply the merges to one piece, earliest-learned pair first, and remember the result."""
        try:
            ids = list(piece.encode())
        except UnicodeEncodeError as error:
            raise PrimerError(f"not valid Unicode text: {piece!r}") from error
        while len(ids) > 1:
            rank, pair = min((self._rank.get(pair, self.end_id), pair) for pair in pairwise(ids))
            if rank == self.end_id:
                break
            ids = _merge(ids, pair, rank)
        if len(self._cache) < _CACHE_SIZE:
            self._cache[piece] = ids
        return ids

    def encode_document(self, text: str) -> list[int]:
        """`encode` with `<|end|>` before and after, as the book's models read a story."""
        return [self.end_id, *self.encode(text), self.end_id]

    # ---------------------------------------------------------------- decoding

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for.

        Raises:
            PrimerError: there is no such token.
        """
        if token == self.end_id:
            return END.encode()
        if not 0 <= token < self.end_id:
            raise PrimerError(f"token {token} is not in the vocabulary of {self.vocab_size}")
        return self._bytes[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of a sequence of tokens, joined; `<|end|>` is spelled out."""
        return b"".join(self.token_bytes(int(token)) for token in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a sequence of tokens; bytes that are not UTF-8 show as U+FFFD."""
        return self.decode_bytes(ids).decode(errors="replace")

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as strings, for display."""
        return [self.decode([token]) for token in self.encode(text)]

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the merges as JSON; the rest follows from them."""
        rows = ",\n    ".join(json.dumps(pair) for pair in self.merges)
        Path(path).write_text(
            f'{{\n  "format": "llm-primer-bpe",\n  "merges": [\n    {rows}\n  ]\n}}\n',
            encoding="utf-8",
        )

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            PrimerError: the file is missing or is not a tokenizer.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise PrimerError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except ValueError as error:
            raise PrimerError(f"{path} is not a tokenizer: {error}") from error
        if not isinstance(data, dict) or data.get("format") != "llm-primer-bpe":
            raise PrimerError(f"{path} is not a tokenizer: no format 'llm-primer-bpe'")
        try:
            return cls([(left, right) for left, right in data["merges"]])
        except (KeyError, TypeError, ValueError) as error:
            raise PrimerError(f"{path} is not a tokenizer: bad merges ({error})") from error

    @classmethod
    def book(cls) -> Tokenizer:
        """The tokenizer of the book, shipped with the package (512 ids)."""
        return _book()


def _merge(ids: list[int], pair: Pair, new_id: int) -> list[int]:
    """Replace every occurrence of the pair, from the left."""
    left, right = pair
    out, i = [], 0
    while i < len(ids):
        if ids[i] == left and i + 1 < len(ids) and ids[i + 1] == right:
            out.append(new_id)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@cache
def _book() -> Tokenizer:
    return Tokenizer.load(BOOK_PATH)


def train_book_tokenizer() -> Tokenizer:
    """Train the shipped tokenizer again, from the world alone; some 20 seconds.

    The shipped file is `train_book_tokenizer().save(BOOK_PATH)`, byte for byte.
    """
    from llm_primer.world import World

    return Tokenizer.train(World().corpus(BOOK_STORIES, BOOK_SEED), BOOK_VOCAB_SIZE)
