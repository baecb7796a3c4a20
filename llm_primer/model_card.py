"""The card of the book's model: what it is, how it was made, what was measured.

``python -m llm_primer.model_card`` measures the shipped weights again and rewrites
``weights/MODEL_CARD.md`` (some minutes). No number in the card is typed by hand. The form follows
Mitchell et al., "Model Cards for Model Reporting" (arXiv:1810.03993).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llm_primer.evaluation import (
    Interval,
    LossReport,
    completion_accuracy,
    factual_accuracy,
    knowledge,
    loss_report,
)
from llm_primer.ngram import NGram
from llm_primer.sampling import generate
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import (
    BOOK_LR,
    BOOK_STEPS,
    BOOK_STORIES,
    BOOK_VALID_STORIES,
    History,
    TrainConfig,
    book_texts,
    encode_documents,
)
from llm_primer.transformer import WEIGHTS, Transformer, load_model
from llm_primer.world import World

NGRAM_ORDERS = (2, 3, 5)
NGRAM_STORIES = 20_000


def shown(value: Interval, digits: int = 3) -> str:
    """An estimate with its 95 % interval."""
    return f"{value.estimate:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def loss_table(
    model: Transformer,
    tokenizer: Tokenizer,
    world: World,
    stories: int,
    ngram_stories: int = NGRAM_STORIES,
) -> dict[str, LossReport]:
    """Losses on the test stories (seed 3): the n-gram models' and the transformer's."""
    ids = encode_documents(book_texts(world, ngram_stories, 1), tokenizer)
    reports = {}
    for order in NGRAM_ORDERS:
        counted = NGram(order, vocab_size=tokenizer.vocab_size).fit(ids)
        reports[f"{order}-gram, Kneser–Ney"] = loss_report(counted, tokenizer, world, stories)
    reports["this model"] = loss_report(model, tokenizer, world, stories)
    return reports


def card(path: str | Path = WEIGHTS, stories: int = 1000, written: int = 200) -> str:
    """Measures the model at ``path`` and writes its card as Markdown.

    Args:
        path: weights, with ``history.json`` beside them.
        stories: how many test stories are read.
        written: how many stories the model writes to be checked.
    """
    path = Path(path)
    model, tokenizer, world = load_model(path), Tokenizer.book(), World()
    history, config, run = History.load(path.parent / "history.json"), model.config, TrainConfig()
    reports = loss_table(model, tokenizer, world, stories)
    own = reports["this model"]
    truth = factual_accuracy(model, tokenizer, world, written)
    cold = factual_accuracy(model, tokenizer, world, written, temperature=0.5)
    facts = completion_accuracy(model, tokenizer, world, stories // 4)
    known = knowledge(model, tokenizer, world)
    entropy, error = world.entropy_per_token(tokenizer, 2000)
    best = int(np.argmin(history.valid_loss))
    rows = "\n".join(
        f"| {name} | {shown(report.loss)} | {shown(report.gap)} |"
        for name, report in reports.items()
    )
    examples = "\n\n".join(
        "> "
        + tokenizer.decode(
            generate(model, [tokenizer.end_id], seed=seed, stop=tokenizer.end_id, max_tokens=250)
        )
        for seed in (1, 2, 3)
    )
    return f"""# The story model

The language model that *Introduction to LLM* tries everything on: a decoder-only transformer that
has read stories of the book's small world and writes more of them. Written by
`python -m llm_primer.model_card`; every number below was measured by it or stands in the code.

## What it is

| | |
|---|---|
| parameters | {model.num_parameters():,} |
| blocks, heads, width | {config.layers}, {config.heads}, {config.width} |
| feed-forward | SwiGLU, inner width {config.inner_width} |
| positions, normalization | rotary (base {config.rope_base:,.0f}), RMSNorm before each sublayer |
| embeddings | tied |
| context | {config.context} tokens |
| vocabulary | {config.vocab_size} tokens: byte-level BPE and `<|end|>` |
| file | float16, {path.stat().st_size / 1e6:.1f} MB |

## How it was made

`python -m llm_primer train --workers 1 --out runs/story-model` (seed 0): from the world and the
tokenizer, with nothing else. Without `--workers 1` two threads share each step, which took 29
minutes on two shared cores, the drawing of the stories included. The seed fixes stories, batches
and first weights, but not in which order a processor adds: another number of workers or another
kind of processor ends with other weights. Those of the two threads have a validation loss of
0.6685, a test loss of 0.672 (0.666 to 0.679), and 0.235 (0.175 to 0.295) of the stories they write
have no mistake; the figures to compare stand below.

| | |
|---|---|
| training text | {BOOK_STORIES:,} stories of the world, seed 1 |
| validation text | {BOOK_VALID_STORIES:,} stories, seed 2 |
| read | {history.tokens:,} tokens in {BOOK_STEPS:,} steps of {run.batch_size} windows |
| optimizer | AdamW, β {run.beta1} and {run.beta2}, weight decay {run.weight_decay} on matrices |
| learning rate | {BOOK_LR:g} after 100 steps of warm-up, half a cosine to {
        run.final_lr:.0%} of it |
| gradient | clipped to length {run.clip:g} |
| time | {history.seconds / 60:.0f} minutes on two shared cores ({
        history.tokens / history.seconds:,.0f} tokens per second) |
| kept | the weights with the best validation loss, after step {history.valid_step[best]:,} ({
        history.valid_loss[best]:.4f}) |

`history.json` holds loss and gradient length over the run, averaged over short runs of steps.

## What was measured

{own.stories:,} test stories (seed 3, {own.tokens:,} tokens), each read alone after `<|end|>`; nats
per token, with 95 % intervals over stories. The floor is the world's own -ln p of the same stories:
{shown(own.floor)}. No model can do better on average. The world's entropy, from other stories, is
{entropy:.3f} ± {error:.3f} nats per token. The n-gram models counted {NGRAM_STORIES:,} of the
training stories.

| model | loss | above the floor |
|---|---|---|
{rows}

The gap estimates the Kullback–Leibler divergence from the model to the world, per token. Over a
whole story of {own.tokens / own.stories:.0f} tokens on average it adds up to {
        own.gap.estimate * own.tokens / own.stories:.1f} nats.

What it writes ({written} stories from nothing, checked sentence by sentence against the world up to
the first mistake):

| | temperature 1 | temperature 0.5 |
|---|---|---|
| sentences that could have happened as told | {shown(truth.sentence_accuracy)} | {
        shown(cold.sentence_accuracy)
    } |
| stories without a mistake | {shown(truth.story_accuracy)} | {shown(cold.story_accuracy)} |
| first mistakes: false, malformed | {truth.mistakes["false"]}, {truth.mistakes["malformed"]} | {
        cold.mistakes["false"]
    }, {cold.mistakes["malformed"]} |

Asked where a thing is at the end of a story ("In the evening, the red ball was ..."), it goes on
truly in {shown(facts)} of cases. Of the {len(known)} facts that only reading can teach (where the
senders of letters live), it knows {int(known.sum())}.

Three stories, seeds 1 to 3, temperature 1, as they came:

{examples}

## What it is for, and what it cannot do

It is a toy, made to be measured. It knows {config.vocab_size} tokens, a few dozen words, and the
events of its world; any other text is noise to it. It answers no questions and follows no
instructions unless fine-tuned to. It contradicts its own stories as often as the table says,
because it has learned who holds what from examples, not from a rule. It holds no personal data: all
its text was generated.
"""


def main() -> None:
    """Rewrites the shipped card."""
    (WEIGHTS.parent / "MODEL_CARD.md").write_text(card(), encoding="utf-8")


if __name__ == "__main__":
    main()
