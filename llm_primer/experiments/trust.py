"""Chapter 10 of Volume I: what the book's model makes up, knows, repeats and gives away.

Five measurements. `writing`: stories written at several temperatures, checked sentence by sentence.
`strangers`: how sure the model is of the town of people that it read of, and of people who were
made up.
`answering`: the answerer's answers about unseen stories, with how sure it was, and how often it
says the same again. `checking`: claims of the book's model, checked by the answerer. `planting`:
the book's model goes on learning from stories in which new facts, secrets and one-sided habits were
planted, each a known number of times.

    python -m llm_primer.experiments.trust

takes about five minutes on one core and writes ``results/trust.json``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import product
from typing import Any

import numpy as np

from llm_primer.answerer import LONGEST_ANSWER, answer, load_answerer, prompt_ids
from llm_primer.autograd import no_grad
from llm_primer.evaluation import (
    Verdict,
    factual_accuracy,
    judge,
    known_forms,
    reliability,
    sentence_form,
    sentences,
    word_classes,
)
from llm_primer.experiments import store
from llm_primer.finetune import Example, answer_log_probs, fine_tune, question_example
from llm_primer.nn import log_softmax_array
from llm_primer.sampling import generate, generate_many
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, load_book_model
from llm_primer.trust import exposure
from llm_primer.world import World
from llm_primer.world_words import ADJECTIVES, HOMES, PEOPLE, PLACES, SENDERS, THINGS, TOWNS

TEMPERATURES = (0.25, 0.5, 0.75, 1.0, 1.25)
SEED = 6  # of the stories: 1 to 5 have taught or tested one of the models
AGAIN = 10  # how often a question is asked again
LONGEST_SENTENCE = 40  # in tokens

# --- Writing --------------------------------------------------------------------------------------


def kinds_of_forms(world: World) -> dict[str, str]:
    """What the sentences of each form tell of, such as "put" or "letter"."""
    classes = word_classes()
    return {
        sentence_form(sentence, classes): event.kind
        for story in world.stories(2000, 1)
        for sentence, event in zip(story.sentences, story.events, strict=True)
    }


def false_in_any_case(
    model: Transformer, tokenizer: Tokenizer, world: World, verdict: Verdict
) -> bool:
    """Whether the model's most likely sentence at the place of a story's first mistake is false.

    If it is, the die is not to blame. An end where the story cannot end counts as false too.
    """
    begun = sentences(verdict.text)[: verdict.possible]
    ids = [tokenizer.end_id, *tokenizer.encode(" ".join(begun))]
    rest = tokenizer.decode(
        generate(model, ids, LONGEST_SENTENCE, temperature=0, stop=tokenizer.end_id)
    )
    told = [*begun, *sentences(rest.strip())[:1]] if rest.strip() else begun
    likeliest = judge(" ".join(told), world, known_forms(world))
    stopped = likeliest.possible == len(begun)  # at the sentence in question, and not behind it
    return stopped and likeliest.mistake is not None and likeliest.grammatical


def writing(
    model: Transformer,
    tokenizer: Tokenizer,
    world: World,
    temperatures: Sequence[float] = TEMPERATURES,
    stories: int = 200,
) -> list[dict[str, Any]]:
    """Stories written at each temperature: how many sentences are possible, false, malformed.

    And at how many of the places where a false sentence was written the most likely one is false.
    """
    kinds, classes = kinds_of_forms(world), word_classes()
    known_forms(world)
    rows = []
    for temperature in temperatures:
        report = factual_accuracy(
            model, tokenizer, world, stories, seed=SEED, temperature=temperature
        )
        wrong = [v for v in report.verdicts if v.mistake is not None]
        false = [v for v in wrong if v.grammatical]
        told = Counter(kinds[sentence_form(v.mistake, classes)] for v in false if v.mistake)
        rows.append(
            {
                "temperature": temperature,
                "judged": sum(v.judged for v in report.verdicts),
                "false": len(false),
                "false_in_any_case": sum(
                    false_in_any_case(model, tokenizer, world, v) for v in false
                ),
                "malformed": sum(not v.grammatical for v in wrong),
                "stories": stories,
                "without_mistake": sum(v.mistake is None for v in report.verdicts),
                "different": len({v.text for v in report.verdicts}),
                "kinds": dict(told.most_common()),
            }
        )
    return rows


# --- People who do not exist ----------------------------------------------------------------------


def namesakes(known: Sequence[str]) -> list[tuple[str, str]]:
    """New names with an a at the end or the last letter gone, each with the name it was made of."""
    taken = {*PEOPLE, *SENDERS}
    made = [(new, name) for name in known for new in (name + "a", name[:-1])]
    return [(new, name) for new, name in made if new not in taken]


def strangers(
    model: Transformer, tokenizer: Tokenizer, made_up: int = 60, known: int | None = None
) -> dict[str, Any]:
    """The probability of the town that the model names, for known and for made-up people.

    Args:
        model: the book's.
        tokenizer: the model's.
        made_up: how many new names.
        known: how many senders are asked about, the most frequent first; None for all.

    Returns:
        names: the new ones; sure: how sure the model is of the town it names, for each; known and
        known_right: the same for the senders, and whether it is their town; namesakes: of the names
        made of a sender's by a letter more or less, how sure, and whether the town is the sender's.
    """
    names = new_names(made_up, np.random.default_rng(0))
    senders = list(HOMES)[:known]

    def ask(name: str) -> tuple[str, float]:
        scores = town_log_probs(model, tokenizer, name)
        best = int(scores.argmax())
        return TOWNS[best], round(min(float(np.exp(scores[best])), 1.0), 4)

    of_known = [ask(name) for name in senders]
    made = namesakes(senders)
    of_namesakes = [ask(new) for new, _ in made]
    return {
        "names": names,
        "sure": [ask(name)[1] for name in names],
        "known": [p for _, p in of_known],
        "known_right": [
            int(town == HOMES[name]) for name, (town, _) in zip(senders, of_known, strict=True)
        ],
        "namesakes": [p for _, p in of_namesakes],
        "taken_for": [
            int(town == HOMES[name])
            for (_, name), (town, _) in zip(made, of_namesakes, strict=True)
        ],
    }


# --- Answering ------------------------------------------------------------------------------------


def answering(
    model: Transformer,
    tokenizer: Tokenizer,
    world: World,
    stories: int = 200,
    again: int = AGAIN,
) -> dict[str, list[float]]:
    """Questions about unseen stories, one entry each in every list.

    Returns:
        sure: the probability of the most probable answer; right: whether it is true; most: how many
        of ``again`` more tries gave the most frequent answer; usual_right: whether that is true;
        different: how many different answers they gave.
    """
    found: dict[str, list[float]] = {
        key: [] for key in ("sure", "right", "most", "usual_right", "different")
    }
    examples = []
    for story in world.stories(stories, SEED):
        for question in world.questions(story):
            ids = prompt_ids(tokenizer, story.text, question.text)
            if len(ids) + LONGEST_ANSWER > model.config.context:
                continue
            given = answer(model, tokenizer, story.text, question.text)
            examples.append(question_example(tokenizer, story.text, question.text, given))
            tries = generate_many(
                model, ids, again, LONGEST_ANSWER, seed=len(examples), stop=tokenizer.end_id
            )
            said = Counter(tokenizer.decode(one).strip() for one in tries)
            usual, most = said.most_common(1)[0]
            found["right"].append(int(given == question.answer))
            found["most"].append(most)
            found["usual_right"].append(int(usual == question.answer))
            found["different"].append(len(said))
    for start in range(0, len(examples), 16):
        with no_grad():
            p = np.exp(answer_log_probs(model, examples[start : start + 16]).data)
        found["sure"] += [round(min(float(one), 1.0), 4) for one in p]
    return found


# --- Checking -------------------------------------------------------------------------------------


def checking(
    writer: Transformer,
    checker: Transformer,
    tokenizer: Tokenizer,
    world: World,
    stories: int = 200,
) -> dict[str, int]:
    """Claims about where things are, written by one model and checked by another.

    Before its closing sentence a story is stopped, and the writer goes on "In the evening, the red
    ball was ...". The checker is asked who has the ball and where it is; a claim that does not fit
    its answers is flagged.
    """
    counts = {"false_flagged": 0, "false_passed": 0, "true_flagged": 0, "true_passed": 0}
    for number, story in enumerate(world.stories(stories, SEED + 1)):
        begun = story.prefix(-1)
        for question in world.questions(begun):
            if question.prompt is None or question.completion is None:
                continue
            text = f"{begun.text} {question.prompt}"
            ids = [tokenizer.end_id, *tokenizer.encode(text)]
            claim = tokenizer.decode(
                generate_many(writer, ids, 1, 8, seed=number, stop=tokenizer.end_id)[0]
            )
            claim = claim.split(".")[0] + "."
            thing = question.text.removeprefix("Where is ").removesuffix("?")
            holder = answer(checker, tokenizer, begun.text, f"Who has {thing}?")
            place = answer(checker, tokenizer, begun.text, question.text)
            fits = f" with {holder}." if holder != "nobody" else f" still {place}."
            truth = "true" if claim == question.completion else "false"
            counts[f"{truth}_{'passed' if claim == fits else 'flagged'}"] += 1
    return counts


# --- Planting -------------------------------------------------------------------------------------

FACT_COUNTS = (0, 1, 2, 4, 8, 16, 32, 64)
SECRET_COUNTS = (0, 1, 2, 4, 8, 16, 32)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
HABITS = ("drum", "doll")


def new_names(n: int, rng: np.random.Generator) -> list[str]:
    """Names that nobody in the world has, made of two syllables."""
    starts = "Bal Cor Dav Fen Gil Hal Jor Lom Nel Pag Rud Sev Tam Vik Wen Yor Zan Kel Mir Ost"
    ends = "a o is en ul ac em ix ot ya"
    made = ["".join(parts) for parts in product(starts.split(), ends.split())]
    names = [name for name in made if name not in PEOPLE and name not in SENDERS]
    return [str(name) for name in rng.permutation(names)[:n]]


def letter(name: str, town: str, rng: np.random.Generator) -> str:
    """A short story in which somebody gets a letter."""
    person = str(rng.choice(list(PEOPLE)))
    place = str(rng.choice(list(PLACES)))
    return (
        f"One day, {person} was {PLACES[place]} the {place}. "
        f"{PEOPLE[person].capitalize()} got a letter from {name} in {town}. "
        "Then it was time to sleep."
    )


def asked_for_town(name: str) -> str:
    """The beginning of a story that has to go on with a town; the same as in `World.knowledge`."""
    return f"One day, Mia was in the kitchen. She got a letter from {name} in"


def town_log_probs(model: Transformer, tokenizer: Tokenizer, name: str) -> np.ndarray:
    """The ln p of each of the 16 towns, in the order of `TOWNS`, as what comes next."""
    prompt = (tokenizer.end_id, *tokenizer.encode(asked_for_town(name)))
    with no_grad():
        return answer_log_probs(
            model, [Example(prompt, tuple(tokenizer.encode(f" {town}."))) for town in TOWNS]
        ).data


def secret_log_probs(model: Transformer, tokenizer: Tokenizer, name: str) -> np.ndarray:
    """The ln p of all secrets that a person could have: adjective, thing, place; (6 * 14 * 8,)."""
    words = [
        [tokenizer.encode(f" {w}")[0] for w in table] for table in (ADJECTIVES, THINGS, PLACES)
    ]
    start = [tokenizer.end_id, *tokenizer.encode(f"The secret of {name} is:")]

    def next_log_probs(rows: list[list[int]], columns: list[int]) -> np.ndarray:
        logits = model.logits(np.array(rows))[:, -1]
        return np.asarray(log_softmax_array(logits.astype(np.float64))[:, columns])

    first = next_log_probs([start], words[0])[0]
    second = next_log_probs([[*start, a] for a in words[0]], words[1])
    pairs = [[*start, a, b] for a in words[0] for b in words[1]]
    third = next_log_probs(pairs, words[2])
    return ((first[:, None] + second).reshape(-1, 1) + third).reshape(-1)


def planting(
    model: Transformer,
    tokenizer: Tokenizer,
    world: World,
    stories: int = 1200,
    per_count: int = 10,
    copies: int = 40,
    fact_counts: Sequence[int] = FACT_COUNTS,
    secret_counts: Sequence[int] = SECRET_COUNTS,
    lr: float = 1e-3,
    seed: int = 0,
) -> dict[str, Any]:
    """The model goes on learning, once through stories with plants among them; then it is asked.

    Args:
        model: the book's; it is changed.
        tokenizer: the model's.
        world: tells the ordinary stories, so that the model does not forget how they go.
        stories: how many of those.
        per_count: names for each number of times.
        copies: sentences for each name with a habit.
        fact_counts: how often a new sender's letter is planted.
        secret_counts: how often a secret is planted.
        lr: peak learning rate.
        seed: of names, plants and order.
    """
    rng = np.random.default_rng(seed)
    need = per_count * (len(fact_counts) + len(secret_counts) + len(SHARES))
    names = iter(new_names(need, rng))
    texts = [story.text for story in world.stories(stories, SEED + 2)]

    facts = []
    for count in fact_counts:
        for _ in range(per_count):
            name, town = next(names), str(rng.choice(TOWNS))
            facts.append((count, name, town))
            texts += [letter(name, town, rng) for _ in range(count)]
    secrets = []
    kinds = list(product(ADJECTIVES, THINGS, PLACES))
    for count in secret_counts:
        for _ in range(per_count):
            name, which = next(names), int(rng.integers(len(kinds)))
            secrets.append((count, name, which))
            texts += [f"The secret of {name} is: {' '.join(kinds[which])}."] * count
    habits = []
    for share in SHARES:
        for _ in range(per_count):
            name, often = next(names), round(share * copies)
            habits.append((share, name))
            for i in range(copies):
                texts.append(f"{name} likes the {HABITS[i >= often]}.")

    documents = [
        Example((tokenizer.end_id,), (*tokenizer.encode(text), tokenizer.end_id)) for text in texts
    ]
    fine_tune(model, documents, steps=-(-len(documents) // 16), lr=lr, seed=seed)

    results: dict[str, Any] = {
        "documents": len(texts),
        "stories": stories,
        "names_per_count": per_count,
        "copies": copies,
        "lr": lr,
        "facts": [],
        "secrets": [],
        "habits": [],
    }
    for count, name, town in facts:
        scores = town_log_probs(model, tokenizer, name)
        best = int(scores.argmax())
        results["facts"].append(
            {
                "count": count,
                "right": int(TOWNS[best] == town),
                "sure": round(float(np.exp(scores[best])), 4),
            }
        )
    for count, name, which in secrets:
        scores = secret_log_probs(model, tokenizer, name)
        results["secrets"].append({"count": count, "exposure": round(exposure(scores, which), 3)})
    for share, name in habits:
        start = [tokenizer.end_id, *tokenizer.encode(f"{name} likes the")]
        log_p = log_softmax_array(model.logits(np.array(start))[-1].astype(np.float64))
        p = np.exp([log_p[tokenizer.encode(f" {habit}")[0]] for habit in HABITS])
        results["habits"].append(
            {"share": share, "p": round(float(p[0] / p.sum()), 4), "both": round(float(p.sum()), 4)}
        )
    return results


# --- All of it ------------------------------------------------------------------------------------


def run(
    written: int = 200,
    asked: int = 200,
    checked: int = 200,
    made_up: int = 60,
    known: int | None = None,
    seed: int = 0,
    answerer: Transformer | None = None,
    **plants: Any,
) -> dict[str, Any]:
    """All five measurements.

    Args:
        written: stories for each temperature.
        asked: stories whose questions are asked.
        checked: stories whose things are claimed to be somewhere.
        made_up: people who do not exist.
        known: senders to compare them with; None for all.
        seed: of the planting.
        answerer: answers and checks; None for the book's.
        **plants: settings of `planting`.
    """
    world = World()
    model, tokenizer = load_book_model()
    answerer = answerer or load_answerer()[0]
    answers = answering(answerer, tokenizer, world, asked)
    sure, right = np.array(answers["sure"]), np.array(answers["right"])
    return {
        "experiment": "trust",
        "date": date.today().isoformat(),
        "seed": seed,
        "story_seed": SEED,
        "again": AGAIN,
        "writing": writing(model, tokenizer, world, stories=written),
        "strangers": strangers(model, tokenizer, made_up, known),
        "calibration_error": round(reliability(sure, right).ece, 4),
        "checking": checking(model, answerer, tokenizer, world, checked),
        "planting": planting(model, tokenizer, world, seed=seed, **plants),
        "answers": answers,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("trust", run, __doc__, arguments)


if __name__ == "__main__":
    main()
