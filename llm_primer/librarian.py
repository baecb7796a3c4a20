"""The story librarian: a whole question-answering system, small enough to take apart.

A request names a few things that somebody remembers of a story, and asks a question about it. The
librarian finds the story (`llm_primer.retrieval`), gives it with the question to a reader
(`llm_primer.answerer`), checks what comes back, answers or declines, and writes a line in its log:

    request -> find -> front guard -> read -> back guard -> reply and log

Every part can be replaced, and a mistake can be traced to the part that made it (`cause`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_primer.answerer import answer
from llm_primer.errors import PrimerError
from llm_primer.finetune import answer_log_probs, question_example
from llm_primer.grammar import at
from llm_primer.retrieval import BM25, words
from llm_primer.world_words import PEOPLE, PLACES

if TYPE_CHECKING:
    from llm_primer.tokenizer import Tokenizer
    from llm_primer.transformer import Transformer
    from llm_primer.world import Story, World

#: What a reader gives back for a story and a question: an answer, and how sure it is (0 to 1).
Reader = Callable[[str, str], tuple[str, float]]

_ASKED = re.compile(r"(?:Where is|Who has) (?:the (?:\w+ )?)?(\w+)\?")
_PLACED = {at(place) for place in PLACES}


@dataclass(frozen=True)
class Request:
    """What a visitor says.

    Attributes:
        clues: what they remember of the story: names, and things such as "red ball".
        question: such as "Where is the red ball?".
    """

    clues: tuple[str, ...]
    question: str

    @property
    def text(self) -> str:
        """Clues and question as one line, which is what is searched for."""
        return f"{', '.join(self.clues)}: {self.question}"


@dataclass(frozen=True)
class Case:
    """A request with its true answer: one line of the evaluation table.

    Attributes:
        request: what is asked.
        answer: the true answer, or None if the story is not in the library.
        story: its number in the library, or None.
    """

    request: Request
    answer: str | None
    story: int | None


@dataclass(frozen=True)
class Reply:
    """What the visitor gets.

    Attributes:
        answer: the answer, or None if the librarian declines.
        reason: why it declines, else "".
        story: the number of the story that was read, the librarian's source; None if none was.
        sure: the reader's own probability of its answer.
    """

    answer: str | None
    reason: str = ""
    story: int | None = None
    sure: float = 0.0


def well_formed(question: str, said: str, story: str) -> bool:
    """Whether an answer is of the kind asked for and speaks of what the story speaks of."""
    if question.startswith("Where"):
        return said in _PLACED and said.rpartition(" ")[2] in words(story)
    return said == "nobody" or (said in PEOPLE and said.lower() in words(story))


@dataclass
class Librarian:
    """Finds, reads, checks, answers, and keeps a log.

    Attributes:
        stories: the library.
        read: the reader.
        version: of all the parts together; it is in every line of the log.
        depth: how many of the search's results are looked at.
        guarded: whether the guards stand at their posts.
        least: how sure the reader has to be when the guards look.
        log: what happened, without anybody's words in it.
    """

    stories: Sequence[str]
    read: Reader
    version: str = "1"
    depth: int = 20
    guarded: bool = True
    least: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Builds the index."""
        self.index = BM25(self.stories)
        self._texts = [f" {' '.join(words(story))} " for story in self.stories]

    def find(self, request: Request) -> list[int]:
        """The numbers of the stories that the search puts first, the best one first."""
        return [i for i, _ in self.index.search(request.text, self.depth)]

    def fits(self, request: Request, story: int) -> bool:
        """Whether a story has in it every clue, and what the question is about."""
        asked = _ASKED.fullmatch(request.question)
        named = [*request.clues, asked[1]] if asked else [*request.clues]
        return all(f" {clue.lower()} " in self._texts[story] for clue in named)

    def ask(self, request: Request) -> Reply:
        """Answers a request, or declines, and writes a line in the log."""
        reply = self._reply(request)
        self.log.append(
            {
                "version": self.version,
                "request": hashlib.blake2b(request.text.encode(), digest_size=8).hexdigest(),
                "story": reply.story,
                "outcome": reply.reason or "answered",
                "sure": round(reply.sure, 3),
            }
        )
        return reply

    def _reply(self, request: Request) -> Reply:
        if self.guarded and not _ASKED.fullmatch(request.question):
            return Reply(None, "not a question I know")
        found = self.find(request)
        if self.guarded:
            found = [i for i in found if self.fits(request, i)]
            if len(found) > 1:
                return Reply(None, "more than one story fits")
        if not found:
            return Reply(None, "no such story")
        story = found[0]
        said, sure = self.read(self.stories[story], request.question)
        if self.guarded and not well_formed(request.question, said, self.stories[story]):
            return Reply(None, "answer makes no sense", story, sure)
        if self.guarded and sure < self.least:
            return Reply(None, "not sure", story, sure)
        return Reply(said, "", story, sure)


def model_reader(model: Transformer, tokenizer: Tokenizer) -> Reader:
    """A reader that asks the answerer; how sure it is, is its own probability of its answer."""

    def read(story: str, question: str) -> tuple[str, float]:
        said = answer(model, tokenizer, story, question)
        example = question_example(tokenizer, story, question, said)
        return said, float(np.exp(answer_log_probs(model, [example]).data.sum()))

    return read


def perfect_reader(world: World) -> Reader:
    """A reader that knows what is true; "I cannot tell" where the story does not say."""

    def read(story: str, question: str) -> tuple[str, float]:
        known = {q.text: q.answer for q in world.questions(world.parse(story))}
        return known.get(question, "I cannot tell"), 1.0

    return read


def make_cases(
    world: World, stories: Sequence[Story], missing: Sequence[Story], clues: int, seed: int
) -> list[Case]:
    """One request about each story, with clues drawn from the people and things in it.

    Args:
        world: knows the answers.
        stories: the library's, or the first of them.
        missing: stories that the library lacks, so that declining is right.
        clues: how many each visitor remembers, at most.
        seed: of questions and clues.

    Raises:
        PrimerError: no clue at all.
    """
    if clues < 1:
        raise PrimerError("A visitor remembers at least one thing.")
    rng = np.random.default_rng(seed)
    cases = []
    for i, story in enumerate([*stories, *missing]):
        asked = world.questions(story)
        question = asked[rng.integers(len(asked))]
        people = [name for name, _ in story.state.people]
        things = [f"{adjective} {noun}" for noun, adjective, _ in story.state.things]
        drawn = rng.permutation([*people, *things])[:clues]
        request = Request(tuple(str(clue) for clue in drawn), question.text)
        here = i < len(stories)
        cases.append(Case(request, question.answer if here else None, i if here else None))
    return cases


def right(case: Case, reply: Reply) -> bool:
    """Whether a reply is as it should be: the true answer, or none where there is none."""
    return reply.answer == case.answer


def cause(case: Case, reply: Reply) -> str:
    """Which part is to blame for a reply; "" if it is right.

    "guard": answered though the story is not there, or declined though the right one was found.
    "finding": another story was found, or none. "reading": the right story, a wrong answer. What is
    right by luck, from a wrong story, counts as right.
    """
    if right(case, reply):
        return ""
    if case.answer is None:
        return "guard"
    if reply.story != case.story:
        return "finding"
    return "guard" if reply.answer is None else "reading"


def tally(cases: Sequence[Case], replies: Sequence[Reply]) -> Counter[str]:
    """How many replies were right, wrong or declined."""
    kinds = (
        "right" if right(c, r) else "declined" if r.answer is None else "wrong"
        for c, r in zip(cases, replies, strict=True)
    )
    return Counter(kinds)
