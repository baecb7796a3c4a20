"""What a chat program sends to the model: one text, in which marks say who speaks.

A model has no notion of a conversation. The program keeps the messages and writes all of them, from
the first on, into the next prompt; a mark before each says whose it is, and the last mark invites
the model to go on as the assistant. In real systems the marks are tokens of their own, which no
typed text can produce, as `encode_chat` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_primer.errors import PrimerError
from llm_primer.tokenizer import END

if TYPE_CHECKING:
    from llm_primer.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
Message = tuple[str, str]
"""Who speaks, one of `ROLES`, and what is said."""


def render(messages: Sequence[Message]) -> str:
    """The conversation as one text, up to the point where the assistant is to go on.

    Raises:
        PrimerError: a message is by nobody in `ROLES`.
    """
    for role, _ in messages:
        if role not in ROLES:
            raise PrimerError(f"A message is by one of {', '.join(ROLES)}, not by {role!r}.")
    said = "".join(f"<|{role}|>\n{content}{END}\n" for role, content in messages)
    return f"{said}<|assistant|>\n"


def encode_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The same as token ids, with a token of its own for each mark.

    The marks get the numbers after the vocabulary, in the order of `ROLES`. What somebody typed is
    encoded as plain text: it can look like a mark, but it cannot become one.
    """
    render(messages)  # so that both complain alike
    (line_break,) = tokenizer.encode("\n")
    ids = []
    for role, content in messages:
        ids += [tokenizer.vocab_size + ROLES.index(role), line_break]
        ids += [*tokenizer.encode(content), tokenizer.end_id, line_break]
    return [*ids, tokenizer.vocab_size + ROLES.index("assistant"), line_break]


def tokens_read(turns: int, system: int, user: int, reply: int) -> int:
    """How many tokens a model reads in all if each request holds the whole conversation so far.

    Args:
        turns: n, questions and answers.
        system: T_s, tokens of the instructions at the beginning.
        user: T_q, tokens of each question.
        reply: T_a, tokens of each answer; the last one is not read again.

    Returns:
        n (T_s + T_q) + (T_q + T_a) n (n - 1) / 2.
    """
    return turns * (system + user) + (user + reply) * turns * (turns - 1) // 2
