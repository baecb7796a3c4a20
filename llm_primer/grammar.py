"""The grammar of the small world: what can happen next, and how it is told.

A story is a walk through states. The `State` is the memory, who is where and who holds what; an
`Event` is what one sentence tells and what changes the state. Each sentence is chosen given the
state in three steps, one method each:

    kinds (what sort of thing, to whom)  ->  events (the details)  ->  wordings (the sentence).

Each returns a plain list of alternatives with probabilities, so that a story can be drawn by
choosing three times a sentence, and everything that could have come next can be listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from llm_primer.errors import PrimerError
from llm_primer.world_words import (
    ADJECTIVES,
    HOMES,
    OPENINGS,
    PEOPLE,
    PLACES,
    SENDERS,
    THINGS,
    TIME_WORDS,
    zipf,
)

T = TypeVar("T")
Weighted = list[tuple[float, T]]
"""Alternatives with their weights; a weight is a probability once the list has been normalized."""

#: Probability that the story closes with the next sentence, by the number of sentences so far.
CLOSING = {4: 0.03, 5: 0.05, 6: 0.08, 7: 0.12, 8: 0.17, 9: 0.25, 10: 0.4, 11: 1.0}


@dataclass(frozen=True, slots=True)
class Event:
    """What one sentence says happened: its kind, and whom and what it is about.

    Attributes:
        kind: one of the kinds in `Grammar.kinds`, for example "give" or "go".
        actor: who does it, or None.
        other: the second person (who is given to, who is met, who sent the letter), or None.
        thing: noun of the thing, or None.
        second: noun of the second thing (of a swap), or None.
        place: where to, or where, or None.
        adjective: the adjective of a thing that is mentioned for the first time, or None.
    """

    kind: str
    actor: str | None = None
    other: str | None = None
    thing: str | None = None
    second: str | None = None
    place: str | None = None
    adjective: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The memory of the world: all that the rest of the story depends on.

    Attributes:
        people: name -> place, as pairs in order of appearance.
        things: (noun, adjective, where), where `where` is the holder's name or a place.
        wants: who wants what, as pairs (name, noun).
        topic: whom "she" or "he" means at the start of the next sentence, or None.
        it: the noun that "it" means in the next sentence, or None.
        last: the latest event, or None at the start.
        letter: whether a letter has come.
        length: the number of sentences so far.
    """

    people: tuple[tuple[str, str], ...] = ()
    things: tuple[tuple[str, str, str], ...] = ()
    wants: tuple[tuple[str, str], ...] = ()
    topic: str | None = None
    it: str | None = None
    last: Event | None = None
    letter: bool = False
    length: int = 0

    def place(self, name: str) -> str:
        """Where a person or a thing is; a thing that is held is where its holder is."""
        for person, place in self.people:
            if person == name:
                return place
        for noun, _, where in self.things:
            if noun == name:
                return where if where in PLACES else self.place(where)
        raise PrimerError(f"nobody and nothing called {name!r} is in this story")

    def holder(self, noun: str) -> str | None:
        """Who holds the thing, or None when it lies somewhere."""
        where = self.where(noun)
        return None if where in PLACES else where

    def where(self, noun: str) -> str:
        """The holder's name or the place where the thing lies."""
        return next(where for thing, _, where in self.things if thing == noun)

    def adjective(self, noun: str) -> str:
        """The adjective that the thing was introduced with."""
        return next(adjective for thing, adjective, _ in self.things if thing == noun)

    def held(self, name: str) -> list[str]:
        """Nouns of the things that a person holds (or that lie in a place)."""
        return [noun for noun, _, where in self.things if where == name]

    def company(self, name: str) -> list[str]:
        """The other people in the same place."""
        here = self.place(name)
        return [person for person, place in self.people if place == here and person != name]

    def want(self, name: str) -> str | None:
        """The noun of what a person wants, or None."""
        return next((noun for person, noun in self.wants if person == name), None)


def normalize(options: Weighted[T]) -> Weighted[T]:
    """Divide the weights by their sum."""
    total = math.fsum(weight for weight, _ in options)
    return [(weight / total, option) for weight, option in options]


def choose(options: Weighted[T], rng: np.random.Generator) -> T:
    """Draw one of the alternatives, given with probabilities."""
    u = rng.random()
    for probability, option in options:
        if u < probability:
            return option
        u -= probability
    return options[-1][1]  # rounding may leave a sum a little below one


# The events that a story can always go on with are hundreds, and making them anew for each story
# took most of the time of drawing one: they are made once.


@lru_cache(maxsize=8192)
def _of_all_looks(noun: str, kind: str, actor: str | None, place: str) -> Weighted[Event]:
    """A new thing with each of the adjectives, with weights."""
    p = dict(zipf(THINGS, 0.8))[noun]
    return [
        (p * q, Event(kind, actor, thing=noun, place=place, adjective=adjective))
        for adjective, q in zipf(ADJECTIVES, 0.7)
    ]


@lru_cache(maxsize=1)
def _openings() -> Weighted[Event]:
    """Each person in each place, with weights."""
    return [
        (p * q, Event("open", name, place=place))
        for name, p in zipf(PEOPLE, 1.2)
        for place, q in zipf(PLACES, 0.7)
    ]


@lru_cache(maxsize=1)
def _arrivals() -> list[tuple[str, str, float, float, Event]]:
    """Each person and each place: how often the one is met and the other visited, and the event."""
    return [
        (name, place, p, q, Event("join", name, place=place))
        for name, p in zipf(PEOPLE, 1.2)
        for place, q in zipf(PLACES, 0.7)
    ]


@lru_cache(maxsize=64)
def _letters(actor: str) -> Weighted[Event]:
    """A letter from each of the senders, with weights."""
    return [
        (weight, Event("letter", actor, other=sender, place=HOMES[sender]))
        for sender, weight in SENDERS.items()
    ]


def entropy_of(options: Weighted[T]) -> float:
    """Entropy of the choice, in nats."""
    return -math.fsum(p * math.log(p) for p, _ in options if p > 0)


def pronoun(name: str) -> str:
    """Return the pronoun of a person, such as "he"."""
    return PEOPLE[name]


def at(place: str) -> str:
    """A place with its preposition: "in the kitchen"."""
    return f"{PLACES[place]} the {place}"


def with_article(adjective: str, noun: str) -> str:
    """A thing that is mentioned for the first time: "an old cup"."""
    article = "an" if adjective[0] in "aeiou" else "a"
    return f"{article} {adjective} {noun}"


def name_person(state: State, actor: str) -> Weighted[str]:
    """How a sentence may name the person it begins with."""
    if state.topic == actor:
        return [(0.6, pronoun(actor)), (0.4, actor)]
    return [(1.0, actor)]


def begin(state: State, actor: str) -> Weighted[str]:
    """The same with or without a time word in front, ready to begin a sentence."""
    return [
        (p * q, time + subject if time else subject[0].upper() + subject[1:])
        for p, time in TIME_WORDS
        for q, subject in name_person(state, actor)
    ]


def name_thing(state: State, noun: str, allow_it: bool = True) -> Weighted[str]:
    """How a sentence may name a thing: "it", "the ball" or "the red ball"."""
    short, full = f"the {noun}", f"the {state.adjective(noun)} {noun}"
    if allow_it and state.it == noun:
        return [(0.5, "it"), (0.35, short), (0.15, full)]
    return [(0.65, short), (0.35, full)]


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[0].upper() + text[1:]


class Grammar:
    """The rules of the stories. It has no seed: all randomness comes from the caller."""

    # ---------------------------------------------------------------- step 1: kind and actor

    def kinds(self, state: State) -> Weighted[tuple[str, str | None]]:
        """What can happen next and to whom, with probabilities."""
        if state.length == 0:
            return [(1.0, ("open", None))]
        assert state.last is not None
        if state.last.kind == "close":
            return [(1.0, ("end", None))]
        if state.last.kind == "ask":
            return [(1.0, ("answer", state.last.actor))]
        options: Weighted[tuple[str, str | None]] = []
        lone = len(state.people) == 1
        if len(state.people) < 3:
            options.append(((12.0 if lone else 0.5) * min(state.length, 2), ("join", None)))
        if len(state.things) < 3:
            options.append((12.0 / 5 ** len(state.things), ("there", None)))
        if any(where in PLACES and noun != state.last.thing for noun, _, where in state.things):
            options.append((1.5, ("lie", None)))
        for actor, _ in state.people:
            attention = 2.5 if actor == state.topic else 1.0
            options += [
                (attention * weight, (kind, actor))
                for kind, weight in self._actions(state, actor)
                if kind != state.last.kind or kind == "go"
            ]
        closing = CLOSING.get(min(state.length, 11), 0.0)
        if closing == 1.0:
            return [(1.0, ("close", None))]
        options = [(p * (1.0 - closing), option) for p, option in normalize(options)]
        return [*options, (closing, ("close", None))] if closing else options

    def _actions(self, state: State, actor: str) -> list[tuple[str, float]]:
        """What one person can do now, with weights."""
        last = state.last
        assert last is not None
        held, company, want = state.held(actor), state.company(actor), state.want(actor)
        just_came = last.kind == "go" and last.actor == actor
        lying = [t for t in state.held(state.place(actor)) if (last.kind, last.thing) != ("put", t)]
        actions = []
        if not just_came:
            actions.append(("go", 1.6))
        else:
            actions.append(("look", 2.5))
        if not state.letter:
            actions.append(("letter", 0.3))
        if len(state.things) < 3:
            actions.append(("find", 0.6 if len(state.things) < 2 else 0.25))
        if len(state.things) < 2:
            actions.append(("have", 3.0 if not state.things else 1.0))
        if lying:
            actions.append(("pick", 3.0))
        if [t for t in held if (last.kind, last.thing) not in (("pick", t), ("find", t))]:
            actions.append(("put", 1.0))
        if held and company:
            actions += [("give", 3.0), ("show", 1.2)]
            if any(state.held(other) for other in company):
                actions.append(("swap", 2.5))
        if held:
            actions.append(("use", 1.0))
        if [t for t in held if t != last.thing]:
            actions.append(("still", 1.3))
        others = [noun for noun, _, where in state.things if where != actor]
        if others and not want:
            actions.append(("want", 1.0))
        if others and company and state.length < 10:
            actions.append(("ask", 1.8))
        if want and (state.holder(want) or state.place(want) != state.place(actor)):
            actions.append(("feel", 4.0 if want in held else 2.0))
        return actions

    # ---------------------------------------------------------------- step 2: the details

    def events(self, state: State, kind: str, actor: str | None) -> Weighted[Event]:
        """The events of one kind that are possible, with probabilities."""
        return normalize(list(self._details(state, kind, actor)))

    def _details(self, state: State, kind: str, actor: str | None) -> Iterable[tuple[float, Event]]:
        if kind in ("close", "lie", "there", "join", "open", "end"):
            yield from self._scenes(state, kind)
            return
        assert actor is not None
        assert state.last is not None
        last = state.last
        held, company, want = state.held(actor), state.company(actor), state.want(actor)
        here = state.place(actor)
        if kind == "go":
            for place in PLACES:
                if place != here:
                    weight = 1.0 + 2.0 * any(there == place for _, there in state.people)
                    weight += 3.0 * (want is not None and state.place(want) == place)
                    yield weight, Event("go", actor, place=place)
        elif kind == "look":
            seen = [Event("look", actor, other=other) for other in company]
            seen += [Event("look", actor, thing=noun) for noun in state.held(here)]
            for event in seen or [Event("look", actor)]:
                yield 1.0, event
        elif kind == "letter":
            cast = {name for name, _ in state.people}
            for weight, event in _letters(actor):
                if event.other not in cast:
                    yield weight, event
        elif kind in ("find", "have"):
            yield from self._new_things(state, kind, actor, here)
        elif kind == "pick":
            for noun in state.held(here):
                if (last.kind, last.thing) != ("put", noun):
                    yield 4.0 if noun == want else 1.0, Event("pick", actor, thing=noun)
        elif kind == "put":
            for noun in held:
                if (last.kind, last.thing) not in (("pick", noun), ("find", noun)):
                    yield 1.0, Event("put", actor, thing=noun, place=here)
        elif kind in ("give", "show"):
            for noun in held:
                for other in company:
                    weight = 4.0 if state.want(other) == noun else 1.0
                    yield weight, Event(kind, actor, other, noun)
        elif kind == "swap":
            for other in company:
                for noun in held:
                    for second in state.held(other):
                        yield 1.0, Event("swap", actor, other, noun, second)
        elif kind == "use":
            for noun in held:
                yield 1.0, Event("use", actor, thing=noun)
        elif kind == "still":
            for noun in held:
                if noun != last.thing:
                    yield 1.0, Event("still", actor, thing=noun)
        elif kind in ("want", "ask"):
            for noun, _, where in state.things:
                if where != actor:
                    yield 1.0, Event(kind, actor, thing=noun)
        elif kind == "feel":
            yield 1.0, Event("feel", actor, thing=want)
        elif kind == "answer":
            for other in company:
                yield 1.0, Event("answer", other, actor, last.thing)

    def _scenes(self, state: State, kind: str) -> Iterable[tuple[float, Event]]:
        """Details of what happens to nobody in particular."""
        if kind == "open":
            yield from _openings()
        elif kind == "join":
            present = dict(state.people)
            for name, place, p, q, event in _arrivals():
                if name not in present:
                    yield p * (q + 1.0 * (place in present.values())), event
        elif kind == "there":
            for place in dict.fromkeys(place for _, place in state.people):
                yield from self._new_things(state, "there", None, place)
        elif kind == "lie":
            assert state.last is not None
            for noun, _, where in state.things:
                if where in PLACES and noun != state.last.thing:
                    yield 1.0, Event("lie", thing=noun, place=where)
        elif kind == "close":
            for noun, _, where in state.things:
                if where in PLACES:
                    yield 1.0, Event("close", thing=noun, place=where)
                else:
                    yield 1.0, Event("close", other=where, thing=noun)
            yield 1.0, Event("close")
        else:
            yield 1.0, Event("end")

    def _new_things(
        self, state: State, kind: str, actor: str | None, place: str
    ) -> Iterable[tuple[float, Event]]:
        known = {noun for noun, _, _ in state.things}
        for noun in THINGS:
            if noun not in known:
                yield from _of_all_looks(noun, kind, actor, place)

    # ---------------------------------------------------------------- step 3: the wording

    def wordings(self, state: State, event: Event) -> Weighted[str]:
        """The sentences that tell an event, with probabilities."""
        kind, actor, noun, place = event.kind, event.actor, event.thing, event.place
        if kind in ("close", "lie", "there", "join", "open", "end"):
            return self._scene_wordings(state, event)
        assert actor is not None
        if kind == "ask":
            assert noun is not None
            return [
                (p, f'"Where is {name}?" asked {actor}.')
                for p, name in name_thing(state, noun, allow_it=False)
            ]
        if kind == "answer":
            assert noun is not None
            return [(1.0, f'"{self._whereabouts(state, event)}," said {actor}.')]
        subjects = [(p, capital(subject)) for p, subject in name_person(state, actor)]
        he = pronoun(actor)
        if kind == "look":
            if event.other:
                sights = [(0.5, f"saw {event.other} there"), (0.5, f"met {event.other} there")]
            elif noun:
                sights = [(p, f"saw {name} there") for p, name in name_thing(state, noun, False)]
            else:
                sights = [(1.0, "was alone there")]
            return [(p * q, f"{s} {sight}.") for p, s in subjects for q, sight in sights]
        if kind == "letter":
            origin = f"from {event.other} in {place}"
            return [(0.5 * p, f"{s} got a letter {origin}.") for p, s in subjects] + [
                (0.5, f"A letter came for {actor} {origin}.")
            ]
        if kind == "have":
            assert event.adjective is not None
            assert noun is not None
            return [(p, f"{s} had {with_article(event.adjective, noun)}.") for p, s in subjects]
        if kind == "go":
            return self._go_wordings(state, event)
        assert noun is not None
        openers = begin(state, actor)
        if kind == "find":
            assert event.adjective is not None
            thing = with_article(event.adjective, noun)
            return [
                (0.5 * p, f"{s} found {thing} and {end}.")
                for p, s in openers
                for end in ("took it", "picked it up")
            ]
        names = name_thing(state, noun)
        if kind == "pick":
            return [
                (0.5 * p * q, f"{s} {verb}.")
                for p, s in openers
                for q, t in names
                for verb in (f"picked {t} up", f"took {t}")
            ]
        if kind == "put":
            assert place is not None
            return [
                (0.5 * p * q, f"{s} {verb}.")
                for p, s in openers
                for q, t in names
                for verb in (f"put {t} down", f"left {t} {at(place)}")
            ]
        if kind in ("give", "show"):
            verb = "gave" if kind == "give" else "showed"
            return [
                (0.5 * p * q, f"{s} {verb} {t} to {event.other}.")
                for p, s in openers
                for q, t in names
            ] + [
                (0.5 * p * q, f"{s} {verb} {event.other} {t}.")
                for p, s in openers
                for q, t in name_thing(state, noun, allow_it=False)
            ]
        if kind == "swap":
            return [
                (p, f"{s} gave {event.other} the {noun} and got the {event.second} for it.")
                for p, s in openers
            ]
        if kind == "use":
            return [(p * q, f"{s} {THINGS[noun]} {t}.") for p, s in openers for q, t in names]
        if kind == "still":
            return [(p * q, f"{s} still had {t}.") for p, s in subjects for q, t in names]
        if kind == "want":
            return [(p * q, f"{s} wanted {t}.") for p, s in subjects for q, t in names]
        holder = state.holder(noun)
        if holder == actor:
            mood = [(q, f"was happy because {he} had {t}") for q, t in names]
        elif holder:
            mood = [(q, f"was sad because {holder} had {t}") for q, t in names]
        else:
            here = at(state.place(actor))
            mood = [(q, f"looked for {t}, but it was not {here}") for q, t in names]
        return [(p * q, f"{s} {how}.") for p, s in subjects for q, how in mood]

    def _go_wordings(self, state: State, event: Event) -> Weighted[str]:
        assert event.actor is not None
        want, held = state.want(event.actor), state.held(event.actor)
        to = f"to the {event.place}"
        ways: Weighted[str] = [(0.6, f"went {to}"), (0.25, f"walked {to}"), (0.15, f"ran {to}")]
        if want and want not in held:
            ways = [(0.7 * p, way) for p, way in ways]
            ways += [
                (0.3 * q, f"went {to} to look for {t}") for q, t in name_thing(state, want, False)
            ]
        elif len(held) == 1:
            ways = [(0.6 * p, way) for p, way in ways]
            ways += [(0.4 * q, f"took {t} {to}") for q, t in name_thing(state, held[0])]
        return [(p * q, f"{s} {way}.") for p, s in begin(state, event.actor) for q, way in ways]

    def _scene_wordings(self, state: State, event: Event) -> Weighted[str]:
        kind, noun, place = event.kind, event.thing, event.place
        if kind == "end":
            return [(1.0, "")]
        if kind == "open":
            assert place is not None
            return [(p, f"{opening}{event.actor} was {at(place)}.") for p, opening in OPENINGS]
        if kind == "join":
            assert place is not None
            if state.topic and place == state.place(state.topic):
                return [(0.7, f"{event.actor} was there too."), (0.3, f"{event.actor} came along.")]
            return [(1.0, f"{event.actor} was {at(place)}.")]
        if kind == "there":
            assert noun is not None
            assert place is not None
            assert event.adjective is not None
            thing = with_article(event.adjective, noun)
            return [
                (0.7, f"There was {thing} {at(place)}."),
                (0.3, f"{capital(at(place))}, there was {thing}."),
            ]
        if kind == "lie":
            assert noun is not None
            assert place is not None
            return [
                (p, f"{capital(t)} was still {at(place)}.")
                for p, t in name_thing(state, noun, allow_it=False)
            ]
        if noun is None:
            return [
                (0.5, "It was a good day."),
                (0.3, "Then it was time to sleep."),
                (0.2, "What a day it was."),
            ]
        where = f"still {at(place)}" if place else f"with {event.other}"
        return [
            (p, f"In the evening, {t} was {where}.")
            for p, t in name_thing(state, noun, allow_it=False)
        ]

    def _whereabouts(self, state: State, event: Event) -> str:
        """What a person who answers says of the thing that was asked for."""
        assert event.thing is not None
        assert event.actor is not None
        holder = state.holder(event.thing)
        if holder == event.actor:
            return "I have it"
        if holder:
            return f"{holder} has it"
        place = state.place(event.thing)
        return "It is here" if place == state.place(event.actor) else f"It is {at(place)}"

    # ---------------------------------------------------------------- what an event changes

    def after(self, state: State, event: Event) -> State:
        """The state after an event."""
        kind, people, things, wants = event.kind, state.people, state.things, state.wants
        actor, noun, place = event.actor or "", event.thing or "", event.place or ""
        if kind in ("open", "join"):
            people = (*people, (actor, place))
        elif kind == "go":
            people = tuple((name, place if name == actor else where) for name, where in people)
        elif kind in ("there", "have", "find"):
            things = (*things, (noun, event.adjective or "", place if kind == "there" else actor))
        elif kind == "want":
            wants = (*wants, (actor, noun))
        elif kind == "feel" and state.holder(noun) == actor:
            wants = tuple((name, wanted) for name, wanted in wants if name != actor)
        all_moves: dict[str, dict[str | None, str]] = {
            "pick": {noun: actor},
            "put": {noun: place},
            "give": {noun: event.other or ""},
            "swap": {noun: event.other or "", event.second: actor},
        }
        moves = all_moves.get(kind)
        if moves:
            things = tuple((n, adjective, moves.get(n, where)) for n, adjective, where in things)
        topic = None if kind in ("answer", "ask", "lie", "there") else event.actor
        it = None if kind in ("swap", "ask", "answer") else event.thing
        return replace(
            state,
            people=people,
            things=things,
            wants=wants,
            topic=topic,
            it=it,
            last=event,
            letter=state.letter or kind == "letter",
            length=state.length + (kind != "end"),
        )
