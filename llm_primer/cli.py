"""The command line: ``python -m llm_primer train | sample | score | tokenize | world``.

What a person can get wrong ends in one line on stderr and exit status 2; an interrupt in 130; a
reader that stops listening (``| head``) in silence. With ``--json`` a command prints one JSON
value.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_primer.errors import PrimerError

# The libraries that models need are imported by the commands, so that --help answers at once.

NATS_TO_BITS = 1 / math.log(2)


def read_text(source: str) -> str:
    """The text of a file, or of stdin for "-".

    Raises:
        PrimerError: there is no such file, it is not UTF-8, or it is empty.
    """
    name = "stdin" if source == "-" else source
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise PrimerError(f"Cannot read {name}: {error.strerror}.") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PrimerError(f"{name} is not UTF-8 text (byte {error.start + 1}).") from None
    if not text.strip():
        raise PrimerError(f"{name} holds no text.")
    return text


def load(args: argparse.Namespace) -> tuple[Any, Any]:
    """The model and the tokenizer that the options name; without options those of the book.

    Raises:
        PrimerError: a file is missing or damaged, or model and tokenizer do not belong together.
    """
    from llm_primer.tokenizer import Tokenizer
    from llm_primer.transformer import WEIGHTS, load_model

    path = Path(args.model) if args.model else WEIGHTS
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = folder / "best.safetensors"
    beside = folder / "tokenizer.json"
    if args.tokenizer:
        tokenizer = Tokenizer.load(args.tokenizer)
    else:
        tokenizer = Tokenizer.load(beside) if beside.is_file() else Tokenizer.book()
    model = load_model(path)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise PrimerError(
            f"The model knows {model.config.vocab_size} tokens, the tokenizer "
            f"{tokenizer.vocab_size}: they do not belong together."
        )
    if not all(np.isfinite(array).all() for array in model.arrays().values()):
        raise PrimerError(f"The weights in {path} hold NaN or infinity.")
    return model, tokenizer


def show(value: Any) -> None:
    """Prints one JSON value."""
    print(json.dumps(value, ensure_ascii=False))


def table(rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows in columns: words to the left, numbers to the right."""
    printed = [[f"{x:.4f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*printed, strict=True)]
    for row in printed:
        cells = [
            cell.rjust(w) if cell[:1].isdigit() or cell[:1] == "-" else cell.ljust(w)
            for cell, w in zip(row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())


# --- Commands -------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """Trains the book's model, or a model of one's own on a text."""
    from llm_primer.training import BOOK_STEPS, BOOK_STORIES, BOOK_WORKERS, train_book_model

    own = {name: getattr(args, name) for name in OWN_SIZES}
    if args.text:
        chosen = {n: OWN_SIZES[n][0] if size is None else size for n, size in own.items()}
        history = train_on_text(args, chosen)
    else:
        for name, size in own.items():
            if size is not None:
                raise PrimerError(f"--{name.replace('_', '-')} goes with --text only.")
        history = train_book_model(
            args.out,
            steps=args.steps or BOOK_STEPS,
            stories=args.stories or BOOK_STORIES,
            seed=args.seed,
            workers=args.workers or BOOK_WORKERS,
            resume=args.resume,
            progress=not args.json,
        )
    best = min(history.valid_loss)
    if args.json:
        show(
            {
                "folder": args.out,
                "valid_loss": best,
                "steps": len(history.step),
                "tokens": history.tokens,
                "seconds": history.seconds,
            }
        )
    else:
        print(f"{args.out}: validation loss {best:.4f} nats per token")


# For a text of one's own: the default sizes, and what they are.
OWN_SIZES = {
    "vocab_size": (512, "of the tokenizer"),
    "width": (64, "numbers in a token's vector"),
    "layers": (2, "blocks"),
    "heads": (4, "attention heads per block"),
    "context": (64, "tokens per window"),
    "batch_size": (16, "windows per update"),
}


def train_on_text(args: argparse.Namespace, sizes: dict[str, int]) -> Any:
    """Trains a tokenizer and a model on documents, one a line; the last 5 percent validate."""
    from llm_primer.tokenizer import Tokenizer
    from llm_primer.training import TrainConfig, encode_documents
    from llm_primer.training import train as run
    from llm_primer.transformer import Transformer, TransformerConfig

    lines = [line for line in read_text(args.text).splitlines() if line.strip()]
    held_out = max(1, len(lines) // 20)
    learned, valid = lines[:-held_out] or lines, lines[-held_out:]
    batch_size = sizes.pop("batch_size")
    tokenizer = Tokenizer.train("\n".join(learned), sizes["vocab_size"])
    config = TransformerConfig.from_dict({**sizes, "vocab_size": tokenizer.vocab_size})
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The tokenizer travels with the weights, so that `sample --model FOLDER` needs no more.
        tokenizer.save(out / "tokenizer.json")
    except OSError as error:
        raise PrimerError(f"Cannot write to the folder {out}: {error.strerror}.") from None
    steps = args.steps or 500
    history = run(
        Transformer(config, args.seed),
        encode_documents(learned, tokenizer),
        encode_documents(valid, tokenizer),
        TrainConfig(
            steps=steps,
            batch_size=batch_size,
            context=config.context,
            warmup=min(100, steps // 10),
            seed=args.seed,
            workers=args.workers or 1,
        ),
        folder=out,
        resume=args.resume,
        progress=not args.json,
    )
    history.save(out / "history.json")
    return history


def sample(args: argparse.Namespace) -> None:
    """Writes texts with a model."""
    from llm_primer import sampling

    model, tokenizer = load(args)
    start = [tokenizer.end_id, *tokenizer.encode(args.prompt)]
    if args.beam is not None:
        room = model.config.context + 1 - len(start)
        found = sampling.beam_search(
            model, start, args.beam, args.max_tokens or max(room, 1), stop=tokenizer.end_id
        )
        texts = [
            {
                "text": args.prompt + tokenizer.decode(beam.ids[: -1 if beam.ended else None]),
                "log_prob": beam.log_prob,
            }
            for beam in found[: args.n]
        ]
        if args.json:
            show(texts)
        else:
            for one in texts:
                print(f"{one['log_prob']:.3f}  {one['text']}")
        return
    how = {
        "temperature": args.temperature,
        "top_k": args.top_k,
        "top_p": args.top_p,
        "min_p": args.min_p,
    }
    rng = np.random.default_rng(args.seed)
    written = []
    for _ in range(args.n):
        tokens = sampling.stream(
            model, start, args.max_tokens, seed=rng, stop=tokenizer.end_id, **how
        )
        if args.json:
            written.append({"text": args.prompt + tokenizer.decode(tokens)})
            continue
        out = sys.stdout.buffer
        out.write(args.prompt.encode())
        for token in tokens:  # as it comes, like every chat window; a token may be half a letter
            out.write(tokenizer.token_bytes(token))
            out.flush()
        out.write(b"\n")
        out.flush()
    if args.json:
        show(written)


def score(args: argparse.Namespace) -> None:
    """Tells how probable each line of a text is to a model."""
    from llm_primer.evaluation import story_losses
    from llm_primer.world import World

    model, tokenizer = load(args)
    texts = [line for line in read_text(args.file).splitlines() if line.strip()]
    losses = story_losses(model, tokenizer, texts)
    results: list[dict[str, Any]] = []
    for text, loss in zip(texts, losses, strict=True):
        result: dict[str, Any] = {
            "text": text,
            "tokens": len(loss),
            "log_prob": -float(loss.sum()),
            "nats_per_token": float(loss.mean()),
            "perplexity": float(np.exp(loss.mean())),
        }
        if args.floor:
            try:
                result["world_log_prob"] = World().log_prob(text)
            except PrimerError:
                result["world_log_prob"] = None
        if args.tokens:
            names = [tokenizer.decode([i]) for i in [*tokenizer.encode(text), tokenizer.end_id]]
            result["per_token"] = [
                {"token": name, "log_prob": -float(nats)}
                for name, nats in zip(names, loss, strict=True)
            ]
        results.append(result)
    if args.json:
        show(results)
        return
    for result in results:
        if args.tokens:
            table((repr(t["token"]), t["log_prob"]) for t in result["per_token"])
        line = (
            f"{result['log_prob']:.3f} nats, {result['tokens']} tokens, "
            f"{result['nats_per_token']:.4f} nats per token, perplexity {result['perplexity']:.3f}"
        )
        if args.floor:
            exact = result["world_log_prob"]
            line += "; impossible in the world" if exact is None else f"; in the world {exact:.3f}"
        print(line)


def tokenize(args: argparse.Namespace) -> None:
    """Cuts a text into tokens, or joins ids to a text."""
    from llm_primer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.tokenizer) if args.tokenizer else Tokenizer.book()
    text = read_text(args.file)
    if args.decode:
        try:
            ids = [int(part) for part in text.replace(",", " ").split()]
        except ValueError:
            raise PrimerError("--decode reads numbers, separated by spaces or commas.") from None
        sys.stdout.buffer.write(tokenizer.decode_bytes(ids) + b"\n")
        return
    ids = tokenizer.encode(text)
    if args.json:
        show([{"id": i, "token": tokenizer.decode([i])} for i in ids])
    elif args.ids:
        print(*ids)
    else:
        table((i, repr(tokenizer.decode([i]))) for i in ids)
        size = len(text.encode())
        print(f"{len(ids)} tokens, {size} bytes, {size / len(ids):.2f} bytes per token")


def world(args: argparse.Namespace) -> None:
    """Tells stories of the small world, and what is known about them."""
    from llm_primer.world import World

    made = World()
    if args.check is not None:
        check(made, args)
        return
    if args.next is not None:
        from llm_primer.evaluation import sentences

        prefix = sentences(args.next) if args.next.strip() else []
        options = sorted(made.next_sentences(prefix), key=lambda pair: -pair[1])
        if args.json:
            show([{"sentence": s, "probability": p} for s, p in options])
        else:
            for sentence, p in options:
                print(f"{p:.6f}  {sentence or '(the end)'}")
        return
    if args.entropy:
        nats, error = made.entropy(args.n, args.seed)
        if args.json:
            show({"nats_per_story": nats, "standard_error": error, "stories": args.n})
        else:
            print(f"{nats:.3f} ± {error:.3f} nats per story ({nats * NATS_TO_BITS:.2f} bits)")
        return
    rng = np.random.default_rng(args.seed)
    stories = (made.story(rng) for _ in range(args.n))  # told one by one: a reader may stop
    if not args.json:
        for story in stories:
            print(story.text)
            if args.questions:
                for question in made.questions(story):
                    print(f"  {question.text} {question.answer}")
        return
    show(
        [
            {
                "text": story.text,
                "log_prob": made.log_prob(story.text),
                "facts": [fact.text for fact in made.facts(story.state)],
                "questions": [
                    {"text": question.text, "answer": question.answer}
                    for question in made.questions(story)
                ],
            }
            for story in stories
        ]
    )


def check(made: Any, args: argparse.Namespace) -> None:
    """Says of every line of a text whether it is a possible story."""
    results = []
    for text in read_text(args.check).splitlines():
        if not text.strip():
            continue
        try:
            results.append({"text": text, "log_prob": made.log_prob(text), "problem": None})
        except PrimerError as error:
            results.append({"text": text, "log_prob": None, "problem": str(error)})
    if args.json:
        show(results)
    else:
        for result in results:
            print(result["problem"] or f"possible, ln p = {result['log_prob']:.3f}")


# --- Options --------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


positive.__name__ = "whole number"  # argparse names the type in its message


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="llm-primer",
        description="The models and the small world of the book Introduction to LLM.",
        epilog="'llm-primer COMMAND --help' describes a command. Exit status: 0, or 2 for an error "
        "that one line explains, or 130 when interrupted.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=run.__doc__.partition("\n")[0])
        made.set_defaults(run=run)
        return made

    def with_model(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--model", metavar="PATH", help="weights, or the folder of a training run"
        )
        with_tokenizer(made)

    def with_tokenizer(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--tokenizer", metavar="FILE", help="a tokenizer.json; default: the book's"
        )

    def with_json(made: argparse.ArgumentParser) -> None:
        made.add_argument("--json", action="store_true", help="print JSON")

    made = command("train", train, "train a model")
    made.add_argument("--out", default="runs/story-model", metavar="FOLDER", help="(%(default)s)")
    made.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    made.add_argument("--steps", type=positive, help="updates; default: the book's, or 500")
    made.add_argument("--stories", type=positive, help="of the world; default: the book's")
    made.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")
    made.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="threads for a step; default: the book's, or 1",
    )
    with_json(made)
    own = made.add_argument_group("a model of your own")
    own.add_argument("--text", metavar="FILE", help="learn these documents, one a line; - stdin")
    for name, (default, about) in OWN_SIZES.items():
        own.add_argument(
            f"--{name.replace('_', '-')}", type=positive, metavar="N", help=f"{about} ({default})"
        )

    made = command("sample", sample, "write texts with a model")
    with_model(made)
    made.add_argument("--prompt", default="", help="how the texts begin")
    made.add_argument("-n", type=positive, default=1, help="how many texts (1)")
    made.add_argument("--max-tokens", type=positive, help="the longest; default: the context")
    made.add_argument("--temperature", type=float, default=1.0, help="0 for greedy (1.0)")
    made.add_argument("--top-k", type=int, help="keep the k most likely tokens")
    made.add_argument("--top-p", type=float, help="keep tokens up to this share of probability")
    made.add_argument("--min-p", type=float, help="keep tokens from this share of the largest")
    made.add_argument(
        "--beam", type=positive, metavar="WIDTH", help="search for the likeliest text"
    )
    made.add_argument("--seed", type=int, default=0, help="of the random numbers (0)")
    with_json(made)

    made = command("score", score, "tell how probable each line of a text is")
    made.add_argument("file", nargs="?", default="-", help="one text a line; default: stdin")
    with_model(made)
    made.add_argument("--tokens", action="store_true", help="show every token's log-probability")
    made.add_argument("--floor", action="store_true", help="show the world's exact probability too")
    with_json(made)

    made = command("tokenize", tokenize, "cut a text into tokens")
    made.add_argument("file", nargs="?", default="-", help="default: stdin")
    with_tokenizer(made)
    made.add_argument("--ids", action="store_true", help="print the ids alone")
    made.add_argument("--decode", action="store_true", help="the other way: read ids, print text")
    with_json(made)

    made = command("world", world, "tell stories of the small world")
    made.add_argument("-n", type=positive, default=5, help="how many stories (5)")
    made.add_argument("--seed", type=int, default=0, help="of the random numbers (0)")
    made.add_argument("--questions", action="store_true", help="with questions and answers")
    made.add_argument("--entropy", action="store_true", help="estimate the entropy from n stories")
    made.add_argument("--next", metavar="TEXT", help="all sentences that can follow, with p")
    made.add_argument("--check", metavar="FILE", help="is each line a possible story? - for stdin")
    with_json(made)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    try:
        args = parser().parse_args(argv)
        args.run(args)
        sys.stdout.flush()
    except PrimerError as error:
        print(f"llm-primer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads any more. Python would complain once again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0
