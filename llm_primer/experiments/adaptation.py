"""Chapter 6 of Volume I: one book model, adapted in many ways, and what each way costs it.

The book's model learns to answer questions about a story: with low-rank detours of several ranks,
with all its parameters free, with old stories mixed in, and from fewer and fewer questions. Then it
learns from comparisons: by direct preference optimization with leashes of several strengths, and by
way of two reward models, trained on few comparisons and on many, whose pull can be computed exactly
because the answers can be listed. Everything is held against what can be had for nothing: naming
whatever the story names last, and taking the model's own favorite more often.

    python -m llm_primer.experiments.adaptation

takes some ten minutes on one core and writes ``results/adaptation.json``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from llm_primer.answerer import load_answerer
from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.evaluation import story_losses
from llm_primer.experiments import store
from llm_primer.finetune import (
    Example,
    answer_log_probs,
    fine_tune,
    optimize,
    pad,
    question_example,
    question_examples,
)
from llm_primer.grammar import at
from llm_primer.information import kl_divergence
from llm_primer.lora import EVERYTHING, add_lora, merge
from llm_primer.nn import cross_entropy, softmax_array
from llm_primer.preference import (
    Pair,
    RewardModel,
    pair_log_probs,
    train_dpo,
    train_reward_model,
)
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, load_book_model
from llm_primer.world import World
from llm_primer.world_words import PEOPLE, PLACES

LORA_RATE, FULL_RATE, DPO_RATE = 4e-3, 1e-3, 1e-3
ALPHA = 8.0  # the same at every rank, so that the rate need not change with it
RANKS = (1, 8, 32)
AMOUNTS = (16, 128)
LEASHES = (("random", 0.1), ("random", 5.0), ("own", 0.1), ("own", 1.0))
JUDGES = {"few": (100, 60), "many": (1000, 180)}  # how many comparisons, how many updates
DRAWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024)
TEMPERATURES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
PULLS = (8.0, 4.0, 2.0, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
#: The eight answers that "Where is ...?" can have.
WHERE = tuple(at(place) for place in PLACES)


# --- Measures -------------------------------------------------------------------------------------


def answered(model: Any, examples: Sequence[Example], batch_size: int = 32) -> Array:
    """As `finetune.exact_match`, (n,) of 0.0 and 1.0, but many examples at a time.

    The greedy answer is the expected one just if each of its tokens is the most likely after the
    expected ones before it, and that can be read off one pass.
    """
    hits = []
    with no_grad():
        for i in range(0, len(examples), batch_size):
            ids, targets = pad(examples[i : i + batch_size])
            best = model(ids).data.argmax(axis=-1)
            hits.append(((best == targets) | (targets < 0)).all(axis=1))
    return np.concatenate(hits).astype(np.float64)


def story_loss(model: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """The loss on stories, nats per token."""
    return float(np.concatenate(story_losses(model, tokenizer, texts)).mean())


def share(hits: Array) -> float:
    """The mean of 0.0 and 1.0, to four digits; 0 of nothing."""
    return round(float(np.mean(hits)), 4) if len(hits) else 0.0


# --- What can be had for nothing ------------------------------------------------------------------


def names_in(story: str, names: Iterable[str]) -> list[str]:
    """Those of some names that a text contains, in its order, each as often as it is there."""
    return re.findall(rf"\b(?:{'|'.join(names)})\b", story)


def last_named(story: str, question: str) -> str:
    """The laziest answer: the place that a story names last, or to "Who ...?" the person.

    "" if it names none.
    """
    where = question.startswith("Where")
    named = names_in(story, PLACES if where else PEOPLE)
    if not named:
        return ""
    return at(named[-1]) if where else named[-1]


def most_named(story: str) -> str:
    """The place that a story names most often, the first of several; "" if it names none."""
    named = Counter(names_in(story, PLACES))
    return at(named.most_common(1)[0][0]) if named else ""


def sharpened(p: Array, _rewards: Array | None = None, *, temperature: float) -> Array:
    """A distribution at another temperature, p^(1/τ) scaled to the sum 1; asks no reward."""
    with np.errstate(divide="ignore"):
        return softmax_array(np.log(p) / temperature)


# --- Asking without training ----------------------------------------------------------------------


def ways_to_ask(
    world: World, tokenizer: Tokenizer, n: int, seed: int, shots: int = 3
) -> tuple[dict[str, list[list[Example]]], Array]:
    """The same questions where a thing lies, worded in several ways, each with all eight answers.

    Args:
        world: tells the stories; each breaks off before its last sentence.
        tokenizer: encodes them.
        n: how many questions.
        seed: of the stories.
        shots: how many short stories with question and answer stand before, in the way "examples".

    Returns:
        For each way the questions, and the number of the right answer to each.
    """
    shown: list[int] = []
    for story in world.stories(20 * shots, seed + 1):
        short = story.prefix(4)
        asked = [q for q in world.questions(short) if q.text.startswith("Where is the")]
        if asked and shots:
            text = f"{short.text}\n{asked[0].text} {asked[0].answer}"
            shown += [tokenizer.end_id, *tokenizer.encode(text)]
            shots -= 1
    ways: dict[str, list[list[Example]]] = {
        "question": [],
        "examples": [],
        "dialogue": [],
        "sentence": [],
    }
    right: list[int] = []
    for story in world.stories(20 * n, seed):
        before = story.prefix(-1)
        for question in world.questions(before):
            if not question.prompt or not str(question.completion).startswith(" still"):
                continue
            thing = question.text.removeprefix("Where is ").removesuffix("?")
            asker = before.state.people[0][0]
            ends = {
                "question": f"\n{question.text}",
                "examples": f"\n{question.text}",
                "dialogue": f' "Where is {thing}?" asked {asker}. "It is',
                "sentence": f" {question.prompt} still",
            }
            prompts = {
                way: (
                    *(shown if way == "examples" else ()),
                    tokenizer.end_id,
                    *tokenizer.encode(before.text + end),
                )
                for way, end in ends.items()
            }
            if len(right) < n and len(prompts["examples"]) < 250:
                for way, prompt in prompts.items():
                    ways[way].append(
                        [Example(prompt, tuple(tokenizer.encode(f" {a}"))) for a in WHERE]
                    )
                right.append(WHERE.index(question.answer))
        if len(right) == n:
            break
    return ways, np.array(right)


def knows_and_says(
    model: Any, rows: Sequence[Sequence[Example]], right: Array, last: Array
) -> dict[str, float]:
    """How much probability answers get at all, and how often the right one gets the most of it.

    Args:
        model: is asked.
        rows: each question with its eight answers, as from `ways_to_ask`.
        right: (questions,) the number of the right answer.
        last: (questions,) the number of the place that was named last.

    Returns:
        ``answers``, the probability of any answer; ``right``, how often the right one is the
        likeliest, and ``caught``, how often where the place named last is wrong; ``lazy``, how
        often the place named last is the likeliest.
    """
    with no_grad():
        p = np.exp([answer_log_probs(model, row).data for row in rows])
    best = p.argmax(axis=1)
    return {
        "answers": round(float(p.sum(axis=1).mean()), 4),
        "right": share(best == right),
        "caught": share((best == right)[last != right]),
        "lazy": share(best == last),
    }


def story_of(tokenizer: Tokenizer, prompt: Sequence[int]) -> str:
    """The story of a prompt like that of `finetune.question_example`."""
    return tokenizer.decode(list(prompt[1:])).rpartition("\n")[0]


# --- Pulling a policy toward a reward -------------------------------------------------------------


def best_of_n(p: Array, rewards: Array, n: int) -> Array:
    """The distribution of the answer with the highest reward among n independent draws from p.

    The best draw lies below a reward just if all n draws do, so its distribution function is that
    of one draw to the power n. Equal rewards share in proportion to p.

    Args:
        p: (k,) probabilities of the answers.
        rewards: (k,) one number each.
        n: how many draws.
    """
    q = np.zeros(len(p))
    below = 0.0
    for reward in np.unique(rewards):
        same = rewards == reward
        mass = p[same].sum()
        if mass > 0:
            q[same] = p[same] / mass * ((below + mass) ** n - below**n)
        below += mass
    return q / q.sum()


def leashed(p: Array, rewards: Array, beta: float) -> Array:
    """The policy with the highest E[R] - β KL(π ‖ p): p e^(R / β), scaled to the sum 1.

    (Rafailov et al., arXiv:2305.18290, eq. 4.)
    """
    with np.errstate(divide="ignore"):
        return softmax_array(np.log(p) + rewards / beta)


def best_of_n_bound(n: int) -> float:
    """The KL divergence ln n - (n - 1) / n of best-of-n among answers that are all different.

    Where answers can be drawn twice it is an upper bound (Beirami et al., arXiv:2401.01879).
    """
    return float(np.log(n) - (n - 1) / n)


def where_table(
    world: World, tokenizer: Tokenizer, n_stories: int, seed: int
) -> tuple[list[list[Example]], Array]:
    """Each "Where ...?" of some stories with all eight answers, and the number of the right one."""
    rows, right = [], []
    for story in world.stories(n_stories, seed):
        for question in world.questions(story):
            if question.answer in WHERE:
                rows.append(
                    [question_example(tokenizer, story.text, question.text, a) for a in WHERE]
                )
                right.append(WHERE.index(question.answer))
    return rows, np.array(right)


def answer_table(model: Any, rows: Sequence[Sequence[Example]]) -> Array:
    """The model's probabilities of the eight answers to each question, scaled to the sum 1."""
    with no_grad():
        return np.array([softmax_array(answer_log_probs(model, row).data) for row in rows])


def comparisons(
    rows: Sequence[Sequence[Example]], right: Array, seed: int, p: Array | None = None
) -> list[Pair]:
    """For each question the right answer beside a wrong one.

    Args:
        rows: as from `where_table`.
        right: the number of the right answer.
        seed: of the choice.
        p: the probabilities of the answers; the wrong answer is then the one that the model finds
            most likely. None draws any wrong answer.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for i, (row, best) in enumerate(zip(rows, right, strict=True)):
        wrong = [k for k in range(len(row)) if k != best]
        chosen = int(rng.choice(wrong)) if p is None else wrong[int(p[i, wrong].argmax())]
        pairs.append(Pair(row[best].prompt, row[best].answer, row[chosen].answer))
    return pairs


def wrong_named(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> float:
    """How often the wrong answer of a comparison is a place that its story names."""
    return share(
        np.array(
            [
                tokenizer.decode(list(pair.rejected[:-1])).split()[-1]
                in names_in(story_of(tokenizer, pair.prompt), PLACES)
                for pair in pairs
            ]
        )
    )


def gain(
    p: Array, q: Array, right: Array, stories: Array, seed: int, draws: int = 10_000
) -> list[float]:
    """By how much the share of right answers grows from one policy to another, with its doubt.

    Questions about one story stand or fall together, so the doubt is found by drawing whole
    stories, as many as there are, again and again.

    Args:
        p: (questions, 8) the policy before.
        q: (questions, 8) the policy after.
        right: (questions,) the number of the right answer.
        stories: (questions,) which story each question is about, counted from 0.
        seed: of the draws.
        draws: how many.

    Returns:
        The gain, and the two ends of its 95 percent interval.
    """
    gained = (q - p)[np.arange(len(p)), right]
    sums, counts = np.bincount(stories, gained), np.bincount(stories)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return [round(float(v), 4) for v in (gained.mean(), low, high)]


def pulled(
    p: Array, rewards: Array, right: Array, pull: Callable[[Array, Array], Array]
) -> dict[str, float]:
    """What a pull makes of a policy: mean reward, share of right answers, mean KL from it in nats.

    Args:
        p: (questions, 8) the policy.
        rewards: (questions, 8).
        right: (questions,) the number of the right answer.
        pull: takes the probabilities and rewards of one question, returns the new probabilities.
    """
    q = np.array([pull(*row) for row in zip(p, rewards, strict=True)])
    return {
        "reward": round(float((q * rewards).sum(axis=1).mean()), 4),
        "right": round(float(q[np.arange(len(q)), right].mean()), 4),
        "kl": round(float(np.mean([kl_divergence(*rows) for rows in zip(q, p, strict=True)])), 4),
    }


# --- Ways to adapt --------------------------------------------------------------------------------


def tuned(rank: int | None, examples: Sequence[Example], steps: int, seed: int) -> Transformer:
    """The book's model after fine-tuning: with detours of some rank folded in, or all of it."""
    model, _ = load_book_model()
    if rank is None:
        fine_tune(model, examples, steps=steps, lr=FULL_RATE, seed=seed)
    else:
        add_lora(model, rank=rank, alpha=ALPHA, targets=EVERYTHING, seed=seed)
        fine_tune(model, examples, steps=steps, lr=LORA_RATE, seed=seed)
        merge(model)
    return model


def rehearsed(
    examples: Sequence[Example], old: Sequence[Example], steps: int, seed: int
) -> Transformer:
    """As `tuned` with all parameters, but each step also reads two old stories from the start."""
    model, _ = load_book_model()

    def loss_of(batch: Array) -> Tensor:
        ids, targets = pad([examples[i] for i in batch])
        ids_old, targets_old = pad([old[i % len(old)] for i in batch[:2]])
        return cross_entropy(model(ids), targets) + cross_entropy(model(ids_old), targets_old)

    optimize(model, loss_of, len(examples), steps=steps, batch_size=16, lr=FULL_RATE, seed=seed)
    return model


# --- The experiment -------------------------------------------------------------------------------


def run(
    ranks: Sequence[int] = RANKS,
    amounts: Sequence[int] = AMOUNTS,
    leashes: Sequence[tuple[str, float]] = LEASHES,
    learn_stories: int = 300,
    test_stories: int = 40,
    pair_stories: int = 60,
    ask: int = 60,
    steps: int = 150,
    dpo_steps: int = 60,
    judges: dict[str, tuple[int, int]] = JUDGES,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Adapts the book's model in every way.

    Args:
        ranks: of the detours, with all questions to learn from; 8 must be among them.
        amounts: how many questions there are to learn from, with rank 8.
        leashes: for DPO, which wrong answers are compared and beta.
        learn_stories: whose questions are learned from (seed 4).
        test_stories: whose questions are asked (seed 5), and whose loss is measured (seed 3).
        ask: how many questions are worded in several ways.
        pair_stories: whose questions have their answers compared (seed 6).
        steps: updates of 16 questions in each fine-tuning.
        dpo_steps: updates of 8 pairs.
        judges: for each reward model, how many comparisons, and how many updates of 8.
        seed: of detours and orders.
        progress: shows a progress bar on stderr.

    Returns:
        The numbers that ``results/adaptation.json`` holds.
    """
    world = World()
    book, tokenizer = load_book_model()
    learn = question_examples(world, tokenizer, learn_stories, 4)
    test = question_examples(world, tokenizer, test_stories, 5)
    questions = [(s.text, q) for s in world.stories(test_stories, 5) for q in world.questions(s)]
    where = np.array([q.text.startswith("Where") for _, q in questions])
    lazy = [last_named(story, q.text) for story, q in questions]
    fooled = np.array([said != q.answer for said, (_, q) in zip(lazy, questions, strict=True)])
    as_lazy = [
        question_example(tokenizer, story, q.text, said)
        for said, (story, q) in zip(lazy, questions, strict=True)
    ]
    texts = [story.text for story in world.stories(test_stories, 3)]
    old = [
        Example((tokenizer.end_id,), (*tokenizer.encode(story.text), tokenizer.end_id))
        for story in world.stories(learn_stories, 1)
    ]
    bar = tqdm(
        total=len(ranks) + len(amounts) + len(leashes) + len(judges) + 4,
        disable=not progress,
        unit="run",
    )

    def measured(model: Any, **facts: Any) -> dict[str, Any]:
        """Right answers of all kinds, to "Where ...?" and to "Who ...?", and the loss on stories.

        Of "Where ...?" also ``caught``, the right answers where the place named last is wrong, and
        ``lazy``, how often the answer is the place named last.
        """
        bar.update()
        hits = answered(model, test)
        return facts | {
            "right": share(hits),
            "where": share(hits[where]),
            "who": share(hits[~where]),
            "caught": share(hits[where & fooled]),
            "lazy": share(answered(model, as_lazy)[where]),
            "loss": round(story_loss(model, tokenizer, texts), 4),
        }

    found: dict[str, Any] = {
        "experiment": "adaptation",
        "date": date.today().isoformat(),
        "seed": seed,
        "parameters": book.num_parameters(),
        "learn": len(learn),
        "test": len(test),
        "steps": steps,
        "lazy": {
            "right": share(~fooled),
            "where": share(~fooled[where]),
            "who": share(~fooled[~where]),
            "nobody": share(np.array([q.answer == "nobody" for _, q in questions])[~where]),
            "caught": int((where & fooled).sum()),
        },
        "floor": round(
            -sum(world.log_prob(text) for text in texts)
            / sum(len(tokenizer.encode(text)) + 1 for text in texts),
            4,
        ),
        "before": measured(book),
        "ranks": [],
        "amounts": [],
        "dpo": [],
        "rewards": [],
    }
    size = {rank: add_lora(load_book_model()[0], rank, targets=EVERYTHING) for rank in ranks}
    answerer: Any = None
    for rank in ranks:
        model = tuned(rank, learn, steps, seed)
        found["ranks"].append(measured(model, rank=rank, trained=size[rank]))
        answerer = model if rank == 8 else answerer
    found["full"] = measured(tuned(None, learn, steps, seed), trained=book.num_parameters())
    found["rehearsed"] = measured(rehearsed(learn, old, steps, seed), trained=book.num_parameters())
    practiced, _ = load_answerer()
    found["answerer"] = measured(practiced)
    ways, lies = ways_to_ask(world, tokenizer, ask, 7)
    told = [story_of(tokenizer, row[0].prompt) for row in ways["question"]]
    named_last = np.array([WHERE.index(last_named(text, "Where")) for text in told])
    named_most = np.array([WHERE.index(most_named(text)) for text in told])
    found["prompts"] = [
        {"way": way, **knows_and_says(book, rows, lies, named_last)} for way, rows in ways.items()
    ]
    for name, model in (("tuned", answerer), ("answerer", practiced)):
        for way in ("question", "sentence"):
            row = knows_and_says(model, ways[way], lies, named_last)
            found["prompts"].append({"way": f"{name}, {way}", **row})
    found["prompted"] = {
        "questions": len(lies),
        "last": share(named_last == lies),
        "most": share(named_most == lies),
        "caught": int((named_last != lies).sum()),
    }
    for amount in amounts:
        few = [learn[i] for i in np.random.default_rng(seed).permutation(len(learn))[:amount]]
        found["amounts"].append(measured(tuned(8, few, steps, seed), questions=amount))

    rows, right = where_table(world, tokenizer, pair_stories, 6)
    pairs = {
        "random": comparisons(rows, right, seed),
        "own": comparisons(rows, right, seed, answer_table(answerer, rows)),
    }
    weights = {name: t.data.copy() for name, t in answerer.all_tensors().items()}

    def again() -> Transformer:
        """A copy of the answerer as it was after fine-tuning."""
        model, _ = load_book_model()
        for name, tensor in model.all_tensors().items():
            tensor.data[...] = weights[name]
        return model

    found["pairs"] = len(right)
    for kind, beta in leashes:
        model = again()
        add_lora(model, rank=8, targets=EVERYTHING, seed=seed)
        before = pair_log_probs(model, pairs[kind])
        history = train_dpo(model, pairs[kind], beta=beta, steps=dpo_steps, lr=DPO_RATE, seed=seed)
        moved = pair_log_probs(model, pairs[kind]) - before
        found["dpo"].append(
            measured(
                model,
                pairs=kind,
                beta=beta,
                chosen=[round(v, 3) for v in history.chosen],
                rejected=[round(v, 3) for v in history.rejected],
                chosen_end=round(float(moved[:, 0].mean()), 3),
                rejected_end=round(float(moved[:, 1].mean()), 3),
            )
        )

    asked, truth = where_table(world, tokenizer, test_stories, 5)
    p = answer_table(answerer, asked)
    told = [story_of(tokenizer, row[0].prompt) for row in asked]
    stories = np.unique(told, return_inverse=True)[1]
    torn = [int(i) for i in np.argsort(-(p * -np.log(p)).sum(axis=1))[:8]]
    found["lab"] = [
        {
            "text": tokenizer.decode(asked[i][0].prompt[1:]),
            "answers": list(WHERE),
            "right": int(truth[i]),
            "p": [round(float(v), 5) for v in p[i]],
            "rewards": {},
        }
        for i in torn
    ]
    most = max(number for number, _ in judges.values())
    judged, best = where_table(world, tokenizer, most // 3 + 1, 8)
    judgments = comparisons(judged, best, seed)
    easy, hard = comparisons(asked, truth, seed + 1), comparisons(asked, truth, seed, p)
    found["policy"] = {
        "favorite": share(p.argmax(axis=1) == truth),
        "easy_named": wrong_named(tokenizer, easy),
        "hard_named": wrong_named(tokenizer, hard),
        "sharpened": [
            {
                "temperature": t,
                **pulled(p, np.zeros_like(p), truth, partial(sharpened, temperature=t)),
            }
            for t in TEMPERATURES
        ],
    }
    for kind, (number, updates) in judges.items():
        judge = RewardModel(again())
        train_reward_model(judge, judgments[:number], steps=updates, seed=seed)
        raw = np.array([judge.rewards(row) for row in asked], np.float64)
        rewards = (raw - raw.mean()) / raw.std()
        found["rewards"].append(
            {
                "judge": kind,
                "comparisons": number,
                "accuracy": round(judge.accuracy(easy), 4),
                "hard_accuracy": round(judge.accuracy(hard), 4),
                "top_right": share(raw.argmax(axis=1) == truth),
                "gains": [
                    {
                        "n": n,
                        "gain": gain(
                            p,
                            np.array([best_of_n(*row, n) for row in zip(p, rewards, strict=True)]),
                            truth,
                            stories,
                            seed,
                        ),
                    }
                    for n in (2, 3, 4)
                ],
                "best_of": [
                    {"n": n, **pulled(p, rewards, truth, partial(best_of_n, n=n))} for n in DRAWS
                ],
                "leashed": [
                    {"beta": beta, **pulled(p, rewards, truth, partial(leashed, beta=beta))}
                    for beta in PULLS
                ],
            }
        )
        for i, row in zip(torn, found["lab"], strict=True):
            row["rewards"][kind] = [round(float(v), 3) for v in rewards[i]]
        bar.update()
    bar.close()
    found["asked"] = len(truth)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and stores its results."""
    store("adaptation", run, __doc__, arguments)


if __name__ == "__main__":
    main()
