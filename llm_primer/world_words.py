"""The words of the small world: who and what there is, and how often.

The order matters: within each table the first entries are the most frequent, with frequencies that
fall off as a power of the rank (Zipf's law), as those of words and names do in real text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

#: Name -> the pronoun that stands for it.
PEOPLE = {
    "Mia": "she",
    "Tom": "he",
    "Anna": "she",
    "Ben": "he",
    "Lily": "she",
    "Sam": "he",
    "Nora": "she",
    "Leo": "he",
    "Rosa": "she",
    "Max": "he",
    "Clara": "she",
    "Hugo": "he",
    "Wanda": "she",
    "Oscar": "he",
    "Yuki": "she",
    "Kofi": "he",
}

#: Place -> its preposition.
PLACES = {
    "kitchen": "in",
    "garden": "in",
    "park": "in",
    "hill": "on",
    "barn": "in",
    "lake": "at",
    "school": "at",
    "cave": "in",
}

#: Thing -> what one does with it.
THINGS = {
    "ball": "played with",
    "book": "read",
    "kite": "flew",
    "cup": "washed",
    "hat": "wore",
    "drum": "played",
    "bell": "rang",
    "doll": "hugged",
    "box": "opened",
    "lamp": "lit",
    "coin": "polished",
    "shell": "listened to",
    "trumpet": "blew",
    "telescope": "looked through",
}

ADJECTIVES = ("red", "blue", "green", "small", "yellow", "old")

#: How stories begin, with probabilities.
OPENINGS = [
    (0.4, "One day, "),
    (0.25, "One morning, "),
    (0.15, "It was a sunny day, and "),
    (0.12, "It was raining, and "),
    (0.08, "Early one evening, "),
]

#: What may stand before the subject, with probabilities.
TIME_WORDS = [(0.65, ""), (0.25, "Then "), (0.1, "Later, ")]

TOWNS = re.findall(
    r"\w+",
    "Oslo Rome Paris Lima Cairo Delhi Tokyo Accra Quito Dublin Prague Lisbon Nairobi Boston "
    "Sydney Vienna",
)

_SENDERS = re.findall(
    r"\w+",
    "Greta Ivan Julia Karl Paula Omar Elsa Pedro Ruth Jonas Alice Victor Irene Felix Dora Simon "
    "Martha Hector Zoe Walter Amina Boris Celia Dmitri Edith Farid Gloria Henry Ines Jacob Kira "
    "Lorenzo Mabel Nikos Olga Patrick Queenie Ravi Sofia Thomas Ursula Vera Wesley Xavier Yara "
    "Zachary Agnes Bruno Carmen Diego Esther Fabio Gwen Hilda Isaac Judith Kenji Laura Marco Nadia "
    "Otis Petra Quentin Renata Stefan Tamara Ulrich Valeria Wilma Ximena Yusuf Zelda Arthur Bianca "
    "Cyrus Delia Emil Flora Gustav Helga Igor Jasmine Kurt Leila Milton Ndidi Orson Phoebe Rufus "
    "Selma Tariq Una Vincent Winona Yolanda Zubin Astrid Basil Cordelia Duncan",
)


@lru_cache(maxsize=64)
def _powers(n: int, exponent: float) -> tuple[float, ...]:
    weights = [1.0 / rank**exponent for rank in range(1, n + 1)]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def zipf(words: Iterable[str], exponent: float) -> list[tuple[str, float]]:
    """Pair each word with its probability, proportional to 1 / rank**exponent."""
    listed = list(words)
    return list(zip(listed, _powers(len(listed), exponent), strict=True))


#: Who may write a letter -> how likely. The tail is long: the rarest turn up a few times in a
#: hundred thousand stories.
SENDERS = dict(zipf(_SENDERS, 1.5))

#: Where each of them lives: always the same town, by no rule that could be guessed. Only who has
#: read a letter from Zelda can know.
HOMES = {sender: TOWNS[(7 * i * i + 3 * i + i // 5) % 16] for i, sender in enumerate(_SENDERS)}
