"""A small world whose truth is known: the stories that every model in the book is tried on.

A story is a dozen sentences or fewer about a few people, things and places, drawn from the grammar
in `llm_primer.grammar`. That grammar has no hidden variables: whoever has read the story so far
knows the state of the world, and so the exact distribution over the next sentence. From it follow
the probability of any text, the entropy that no model can beat, the exact distribution over the
next token, and what is true at the end.

The design follows the tradition of stories told by a simulation, such as the bAbI tasks (Weston et
al., 2015, arXiv:1502.05698), and of small stories for small models, TinyStories (Eldan and Li,
2023, arXiv:2305.07759). What it adds is that every probability is known.

All logarithms are natural, so entropies are in nats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llm_primer.errors import PrimerError
from llm_primer.grammar import Event, Grammar, State, at, choose, entropy_of
from llm_primer.world_words import (
    ADJECTIVES,
    HOMES,
    PEOPLE,
    PLACES,
    SENDERS,
    THINGS,
    TOWNS,
)

if TYPE_CHECKING:
    from llm_primer.tokenizer import Tokenizer

__all__ = [
    "ADJECTIVES",
    "HOMES",
    "PEOPLE",
    "PLACES",
    "SENDERS",
    "THINGS",
    "TOWNS",
    "Event",
    "Fact",
    "Question",
    "State",
    "Story",
    "World",
]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true, as a triple and as a sentence that `World.check` understands."""

    subject: str
    relation: str
    object: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its true answer.

    Attributes:
        text: the question, such as "Who has the red ball?".
        answer: its true answer, such as "Mia", "nobody" or "in the kitchen".
        prompt: for a language model to go on with: the beginning of a sentence that can come next
            after the story asked about, such as "In the evening, the red ball was", or None.
        completion: how the prompt truly goes on, to the end of the sentence, or None.
    """

    text: str
    answer: str
    prompt: str | None = None
    completion: str | None = None


@dataclass(frozen=True)
class Story:
    """A story: its sentences, the events they tell, and the state after each of them."""

    sentences: list[str]
    events: list[Event] = field(repr=False)
    states: list[State] = field(repr=False)

    @cached_property
    def text(self) -> str:
        """The sentences joined by single spaces."""
        return " ".join(self.sentences)

    @property
    def state(self) -> State:
        """The state at the end."""
        return self.states[-1] if self.states else State()

    def prefix(self, n: int) -> Story:
        """The first `n` sentences as a story of their own; a negative `n` leaves off the last."""
        return Story(self.sentences[:n], self.events[:n], self.states[:n])


#: One possible next sentence: its probability and the event that it tells.
Continuations = dict[str, tuple[float, Event]]
#: The possible next sentences as token ids, with their probabilities.
TokenPaths = list[tuple[tuple[int, ...], float]]


class World(Grammar):
    """The stories and all that is known about them.

    Nothing in it is random: a seed or a generator comes from the caller. Lists of next sentences
    are remembered for the states met last, so asking again is fast.
    """

    def __init__(self) -> None:
        self._continuations = lru_cache(maxsize=256)(self._enumerate)
        self._token_paths = lru_cache(maxsize=64)(self._tokenize)

    # ---------------------------------------------------------------- drawing stories

    def _draw(self, rng: np.random.Generator, measure: bool = False) -> tuple[Story, float]:
        """One story and, if measured, the sum of the entropies (nats) of the choices on the way."""
        state, total = State(), 0.0
        story = Story([], [], [])
        while True:
            kinds = self.kinds(state)
            kind, actor = choose(kinds, rng)
            events = self.events(state, kind, actor)
            event = choose(events, rng)
            wordings = self.wordings(state, event)
            text = choose(wordings, rng)
            if measure:
                total += entropy_of(kinds) + entropy_of(events) + entropy_of(wordings)
            if event.kind == "end":
                return story, total
            state = self.after(state, event)
            story.sentences.append(text)
            story.events.append(event)
            story.states.append(state)

    def story(self, rng: np.random.Generator) -> Story:
        """Draw one story."""
        return self._draw(rng)[0]

    def stories(self, n: int, seed: int) -> list[Story]:
        """Draw `n` stories; the first ones of a longer list with the same seed are the same."""
        rng = np.random.default_rng(seed)
        return [self.story(rng) for _ in range(n)]

    def corpus(self, n_stories: int, seed: int) -> str:
        """The texts of `stories(n_stories, seed)`, each followed by a newline."""
        return "".join(story.text + "\n" for story in self.stories(n_stories, seed))

    # ---------------------------------------------------------------- exact probabilities

    def _enumerate(self, state: State) -> Continuations:
        """Everything that can come next, with probabilities that sum to one."""
        found: Continuations = {}
        for p_kind, (kind, actor) in self.kinds(state):
            for p_event, event in self.events(state, kind, actor):
                p = p_kind * p_event
                for p_wording, text in self.wordings(state, event):
                    earlier = found.get(text, (0.0, event))[0]
                    found[text] = (earlier + p * p_wording, event)
        return found

    def _recognize(self, state: State, sentence: str) -> tuple[float, Event] | None:
        """Probability and event of one next sentence, without listing all; None if impossible.

        No two events are told by the same sentence, so the first match is the only one.
        """
        for p_kind, (kind, actor) in self.kinds(state):
            for p_event, event in self.events(state, kind, actor):
                if kind == "letter" and str(event.other) not in sentence:
                    continue
                if event.adjective and f"{event.adjective} {event.thing}" not in sentence:
                    continue
                p = sum(p for p, text in self.wordings(state, event) if text == sentence)
                if p:
                    return p_kind * p_event * p, event
        return None

    def _read(self, sentences: Sequence[str]) -> tuple[Story, list[float]]:
        """Read sentences until one cannot come; returns the story so far and each one's ln p."""
        state, events, states, log_probs = State(), [], [], []
        for sentence in sentences:
            found = self._recognize(state, sentence) if sentence else None
            if found is None:
                break
            probability, event = found
            state = self.after(state, event)
            events.append(event)
            states.append(state)
            log_probs.append(math.log(probability))
        return Story(list(sentences[: len(events)]), events, states), log_probs

    def _follow(self, sentences: Sequence[str]) -> tuple[Story, list[float]]:
        """Read sentences one after another; returns the story and each one's ln p."""
        story, log_probs = self._read(sentences)
        done = len(story.sentences)
        if done < len(sentences):
            raise PrimerError(f"sentence {done + 1} cannot come there: {sentences[done]!r}")
        return story, log_probs

    def possible(self, text: str) -> Story:
        """The longest beginning of a text, in whole sentences, that can be told in this world."""
        return self._read(_split(text)[0])[0]

    def parse(self, text: str) -> Story:
        """Read a story, or the beginning of one that breaks off after a sentence.

        Raises:
            PrimerError: the text is empty, or one of its sentences cannot come where it stands.
        """
        sentences, rest = _split(text)
        if rest.strip() or not sentences:
            raise PrimerError(f"a story is one or more whole sentences, not {text[-60:]!r}")
        return self._follow(sentences)[0]

    def sentence_log_probs(self, text: str) -> list[float]:
        """The log-probability, ln p in nats, of each sentence of a story given those before it.

        The end of the story adds nothing: after a closing sentence it is certain.

        Raises:
            PrimerError: as `log_prob`.
        """
        sentences, rest = _split(text)
        if rest.strip() or not sentences:
            raise PrimerError(f"a story is one or more whole sentences, not {text[-60:]!r}")
        story, log_probs = self._follow(sentences)
        if story.events[-1].kind != "close":
            raise PrimerError("the story is not over: its last sentence is not a closing one")
        return log_probs

    def log_prob(self, text: str) -> float:
        """The log-probability, ln p in nats, of a whole story, exactly.

        Raises:
            PrimerError: the text is empty, impossible in this world, or breaks off.
        """
        return math.fsum(self.sentence_log_probs(text))

    def next_sentences(self, prefix_sentences: Sequence[str]) -> list[tuple[str, float]]:
        """All sentences that can come next, with probabilities; "" is the end of the story.

        Raises:
            PrimerError: one of the sentences cannot come where it stands.
        """
        state = self._follow(prefix_sentences)[0].state
        return [(text, p) for text, (p, _) in self._continuations(state).items()]

    # ---------------------------------------------------------------- in tokens

    def _tokenize(self, state: State, tokenizer: Tokenizer) -> TokenPaths:
        space = " " if state.length else ""
        return [
            (tuple(tokenizer.encode(space + text)) if text else (tokenizer.end_id,), p)
            for text, (p, _) in self._continuations(state).items()
        ]

    def next_token_distribution(self, prefix_text: str, tokenizer: Tokenizer) -> np.ndarray:
        """The exact distribution over the next token, shape (vocab_size,).

        This is what a perfect language model would output after `<|end|>` and the tokens of
        `prefix_text`. No token crosses the end of a sentence, so it is enough to list the possible
        sentences and add up the probabilities of those that agree with the tokens so far.

        Raises:
            PrimerError: no story begins with these tokens.
        """
        sentences, rest = _split(prefix_text)
        state = self._follow(sentences)[0].state
        begun = tuple(tokenizer.encode(rest))
        return _next_token(self._token_paths(state, tokenizer), begun, tokenizer.vocab_size)

    def token_distributions(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """`next_token_distribution` at every position of a story, shape (n_tokens + 1, vocab_size).

        Row i is the distribution of token i given those before it; the last row is that of
        `<|end|>`.
        """
        story = self.parse(text)
        rows = []
        for before, sentence in zip([State(), *story.states], [*story.sentences, ""], strict=True):
            paths = self._token_paths(before, tokenizer)
            space = " " if before.length else ""
            ids = tuple(tokenizer.encode(space + sentence)) if sentence else (tokenizer.end_id,)
            for i, token in enumerate(ids):
                rows.append(_next_token(paths, ids[:i], tokenizer.vocab_size))
                paths = [path for path in paths if len(path[0]) > i and path[0][i] == token]
        return np.array(rows)

    def token_log_probs(self, text: str, tokenizer: Tokenizer) -> np.ndarray:
        """Exact ln p of each token of a whole story and of the `<|end|>` after it.

        Shape (n_tokens + 1,); the sum is `log_prob(text)`.
        """
        self.sentence_log_probs(text)
        ids = [*tokenizer.encode(text), tokenizer.end_id]
        return np.log(self.token_distributions(text, tokenizer)[np.arange(len(ids)), ids])

    # ---------------------------------------------------------------- entropy

    def entropy(self, n: int = 1000, seed: int = 0) -> tuple[float, float]:
        """The entropy of a story in nats, and the standard error of that estimate.

        By the chain rule the entropy of a story is the expected sum of the entropies of the choices
        on the way. Those are exact; only which choices are met is sampled, so the estimate varies
        less than the mean of -ln p over the same stories would (Rao–Blackwell).
        """
        if n < 2:
            raise PrimerError("the entropy is estimated from two stories or more")
        rng = np.random.default_rng(seed)
        values = np.array([self._draw(rng, measure=True)[1] for _ in range(n)])
        return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n))

    def entropy_per_token(
        self, tokenizer: Tokenizer, n: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Entropy of a story over its mean length in tokens: the least loss per token, in nats.

        The `<|end|>` of a story counts as a token. The standard error is that of a ratio of means
        (delta method).
        """
        if n < 2:
            raise PrimerError("the entropy is estimated from two stories or more")
        rng = np.random.default_rng(seed)
        drawn = [self._draw(rng, measure=True) for _ in range(n)]
        nats = np.array([entropy for _, entropy in drawn])
        lengths = np.array([len(tokenizer.encode(story.text)) + 1 for story, _ in drawn])
        ratio = nats.sum() / lengths.sum()
        error = (nats - ratio * lengths).std(ddof=1) / (lengths.mean() * math.sqrt(n))
        return float(ratio), float(error)

    # ---------------------------------------------------------------- what is true

    def facts(self, state: State) -> list[Fact]:
        """Who is where, who has what, and where things are."""
        facts = []
        for person, place in state.people:
            facts.append(Fact(person, "is", place, f"{person} is {at(place)}."))
        for noun, adjective, _ in state.things:
            thing = f"{adjective} {noun}"
            holder, place = state.holder(noun), state.place(noun)
            if holder:
                facts.append(Fact(holder, "has", thing, f"{holder} has the {thing}."))
            facts.append(Fact(thing, "is", place, f"The {thing} is {at(place)}."))
        return facts

    def questions(self, story: Story) -> list[Question]:
        """Questions that the story answers: who has and where is each thing, where is each person.

        The question where a thing is comes with a prompt for a language model, unless the story is
        over or has just asked something itself, so that nothing of the kind can follow. To ask
        about a whole story, ask about `story.prefix(-1)`, which lacks only the closing sentence.
        """
        state = story.state
        going_on = state.length > 3 and story.events[-1].kind not in ("close", "ask")
        questions = []
        for noun, adjective, where in state.things:
            thing = f"the {adjective} {noun}"
            holder = state.holder(noun)
            questions.append(Question(f"Who has {thing}?", holder or "nobody"))
            place = at(state.place(noun))
            if going_on:
                prompt = f"In the evening, {thing} was"
                end = f" with {holder}." if holder else f" still {at(where)}."
                questions.append(Question(f"Where is {thing}?", place, prompt, end))
            else:
                questions.append(Question(f"Where is {thing}?", place))
        for person, place in state.people:
            questions.append(Question(f"Where is {person}?", at(place)))
        return questions

    def knowledge(self) -> list[Question]:
        """Where each sender of letters lives: what no story explains and only reading can teach.

        In the order of how often they write (`SENDERS`). The prompts begin a story.
        """
        return [
            Question(
                f"Where does {sender} live?",
                town,
                f"One day, Mia was in the kitchen. She got a letter from {sender} in",
                f" {town}.",
            )
            for sender, town in HOMES.items()
        ]

    def check(self, statement: str, story: Story) -> bool | None:
        """Whether a statement is true at the end of a story; None if that cannot be decided.

        Understood are, in present or past tense: "Mia has the (red) ball.", "Nobody has the ball.",
        "Mia has nothing.", "The ball is (still) in the kitchen.", "The ball is with Mia.", "Mia is
        in the kitchen.", "Greta lives in Oslo."; each also with "does not have" or "is not". None
        is the answer where the statement has another form or speaks of what the story does not
        mention.
        """
        match = next(filter(None, (form.fullmatch(statement) for form in _STATEMENTS)), None)
        if match is None:
            return None
        said = {name: text for name, text in match.groupdict().items() if text}
        truth = self._holds(said, story.state)
        return truth if truth is None or "negation" not in said else not truth

    def _holds(self, said: dict[str, str], state: State) -> bool | None:
        if "sender" in said:
            return HOMES[said["sender"]] == said["town"] if said["sender"] in HOMES else None
        noun, person = said.get("noun"), said.get("person")
        if noun and noun not in {thing for thing, _, _ in state.things}:
            return None
        if person and person != "Nobody" and person not in dict(state.people):
            return None
        if noun and said.get("adjective", state.adjective(noun)) != state.adjective(noun):
            return False
        if "nothing" in said:
            assert person
            return not state.held(person)
        if "place" in said:
            name = noun or person
            assert name
            return state.place(name) == said["place"]
        assert noun
        return state.holder(noun) == (None if person == "Nobody" else person)


def _split(text: str) -> tuple[list[str], str]:
    """Whole sentences, and what is left: the beginning of another one, with its leading space."""
    *sentences, last = re.split(r"(?<=\.) ", text)
    if last.endswith("."):
        return [*sentences, last], ""
    return sentences, " " + last if sentences else last


def _next_token(paths: TokenPaths, begun: tuple[int, ...], vocab_size: int) -> np.ndarray:
    """Probabilities of the token after `begun`, among the paths that start with it."""
    n = len(begun)
    weights = np.zeros(vocab_size)
    for ids, p in paths:
        if len(ids) > n and ids[:n] == begun:
            weights[ids[n]] += p
    total = weights.sum()
    if total == 0:
        raise PrimerError("no story of this world goes on like this")
    return weights / total


def _statements() -> list[re.Pattern[str]]:
    person = f"(?P<person>{'|'.join(PEOPLE)})"
    thing = f"[Tt]he (?:(?P<adjective>{'|'.join(ADJECTIVES)}) )?(?P<noun>{'|'.join(THINGS)})"
    place = f"(?:in|on|at) the (?P<place>{'|'.join(PLACES)})"
    now = r"(?:is|was)(?: (?P<negation>not)| still)?"
    has = r"(?:(?:still )?(?:has|had)|(?P<negation>(?:does|did) not have))"
    forms = [
        f"(?P<person>{'|'.join(PEOPLE)}|Nobody) {has} {thing}",
        f"{person} (?:has|had) (?P<nothing>nothing)",
        f"{thing} {now} with {person}",
        f"(?:{thing}|{person}) {now} {place}",
        r"(?P<sender>\w+) lives in (?P<town>\w+)",
        r"(?P<sender>\w+) (?P<negation>does not) live in (?P<town>\w+)",
    ]
    return [re.compile(rf"{form}\.") for form in forms]


_STATEMENTS = _statements()
