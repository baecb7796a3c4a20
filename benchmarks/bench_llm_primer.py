"""How fast llm_primer is, each task beside an ordinary alternative in the same run.

Training and sampling are compared with the same model in PyTorch (CPU), BPE with the `tokenizers`
library. A machine's mood changes from minute to minute, so ours and theirs take turns, each several
times, and the best time of each counts; the ratio is what to look at. Without PyTorch or tokenizers
only ours is measured. The libraries do more than is asked of them here: `tokenizers` also notes
where in the text every token stood, and both are made for sizes at which ours would be hopeless.

    python benchmarks/bench_llm_primer.py --output _build/bench/llm_primer.json
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

# Run from a checkout without having installed the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llm_primer.nn import cross_entropy
from llm_primer.optim import AdamW, clip_grad_norm
from llm_primer.sampling import generate, generate_many
from llm_primer.tokenizer import SPLIT, Tokenizer
from llm_primer.training import keep_freed_memory
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import World


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = optional("torch")


def best_of(contenders, rounds):
    """The best time in seconds of each function; they take turns, after one turn to warm up."""
    times = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: min(found) for name, found in times.items()}


# --- The same transformer in PyTorch --------------------------------------------------------------


def torch_model(model):
    """Our transformer's weights in an ordinary PyTorch module: RoPE, RMSNorm, SwiGLU, tied."""
    functional, c = torch.nn.functional, model.config
    angles = torch.tensor(model._angles, dtype=torch.float32)
    cos, sin = angles.cos(), angles.sin()

    def rotate(x, start):
        n = x.shape[2]
        a, b = x[..., 0::2], x[..., 1::2]
        co, si = cos[start : start + n], sin[start : start + n]
        return torch.stack([a * co - b * si, a * si + b * co], dim=-1).flatten(-2)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p = torch.nn.ParameterDict(
                {k.replace(".", "/"): torch.tensor(v) for k, v in model.arrays().items()}
            )

        def w(self, name):
            return self.p[name.replace(".", "/")]

        def norm(self, x, name):
            return functional.rms_norm(x, (c.width,), self.w(name), eps=1e-5)

        def forward(self, ids, cache=None):
            x = functional.embedding(ids, self.w("embed.weight"))
            start = cache[0][0].shape[2] if cache else 0
            for i in range(c.layers):
                at = f"blocks.{i}."
                y = self.norm(x, at + "attn_norm.gain")
                q, k, v = (
                    (y @ self.w(f"{at}attn.{n}.weight"))
                    .unflatten(-1, (c.heads, c.head_width))
                    .transpose(1, 2)
                    for n in ("wq", "wk", "wv")
                )
                q, k = rotate(q, start), rotate(k, start)
                if cache is not None:
                    if cache:
                        k, v = torch.cat([cache[i][0], k], 2), torch.cat([cache[i][1], v], 2)
                    self.new.append((k, v))
                a = functional.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
                x = x + a.transpose(1, 2).flatten(-2) @ self.w(at + "attn.wo.weight")
                y = self.norm(x, at + "ff_norm.gain")
                gate = functional.silu(y @ self.w(at + "ff.w3.weight"))
                x = x + (gate * (y @ self.w(at + "ff.w1.weight"))) @ self.w(at + "ff.w2.weight")
            return self.norm(x, "final_norm.gain") @ self.w("embed.weight").T

        @torch.inference_mode()
        def write(self, prompt, n, use_cache, generator):
            ids = torch.tensor([prompt])
            cache, new = [], ids
            for _ in range(n):
                if use_cache:
                    self.new = []
                    logits = self(new, cache)
                    cache = self.new
                else:
                    logits = self(ids)
                p = logits[:, -1].softmax(-1)
                new = torch.multinomial(p, 1, generator=generator)
                ids = torch.cat([ids, new], 1)
            return ids

    return Net()


# --- The tasks ------------------------------------------------------------------------------------


def bench_training(rounds, batch, context):
    model = Transformer(TransformerConfig(context=context))
    ids = np.random.default_rng(0).integers(0, 512, (batch, context + 1))
    x, y = ids[:, :-1], ids[:, 1:]
    optimizer = AdamW(model.parameters(), lr=1e-4)
    contenders = {}

    def ours():
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        clip_grad_norm(optimizer.tensors, 1.0)
        optimizer.step()

    contenders["llm_primer"] = ours
    if torch:
        net = torch_model(model)
        gap = np.abs(net(torch.tensor(x[:1])).detach().numpy() - model.logits(x[:1])).max()
        assert gap < 1e-3, "the PyTorch model is not the same model"
        their_optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
        tx, ty = torch.tensor(x), torch.tensor(y)

        def theirs():
            their_optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(tx).flatten(0, 1), ty.flatten()).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            their_optimizer.step()

        contenders["PyTorch"] = theirs
    return batch * context, "tokens/s", best_of(contenders, rounds)


def bench_sampling(rounds, tokens, use_cache):
    model = Transformer(TransformerConfig())
    contenders = {
        "llm_primer": lambda: generate(model, [1], tokens, use_cache=use_cache),
    }
    if torch:
        net = torch_model(model).eval()
        generator = torch.Generator().manual_seed(0)
        contenders["PyTorch"] = lambda: net.write([1], tokens, use_cache, generator)
    return tokens, "tokens/s", best_of(contenders, rounds)


def bench_many(rounds, tokens, n):
    model = Transformer(TransformerConfig())
    run = {"llm_primer": lambda: generate_many(model, [1], n, tokens)}
    return tokens * n, "tokens/s", best_of(run, rounds)


def bench_bpe(rounds, stories):
    texts = [story.text for story in World().stories(stories, 3)]
    ours = Tokenizer.book()

    def fresh():
        # A new object each time: its memory of pieces starts empty, as in a new process.
        own = Tokenizer(ours.merges)
        for text in texts:
            own.encode(text)

    contenders = {"llm_primer": fresh}
    library = optional("tokenizers")
    if library:
        theirs = same_tokenizer(library, ours)
        assert all(theirs.encode(t).ids == ours.encode(t) for t in texts[:50])
        contenders["tokenizers"] = lambda: [theirs.encode(text) for text in texts]
    return sum(len(t.encode()) for t in texts) / 1e6, "MB/s", best_of(contenders, rounds)


def same_tokenizer(library, ours):
    """Our merges in the `tokenizers` library, with our ids."""
    alphabet = byte_letters()
    name = ["".join(alphabet[b] for b in ours.token_bytes(i)) for i in range(ours.end_id)]
    merges = [(name[left], name[right]) for left, right in ours.merges]
    vocabulary = {text: i for i, text in enumerate(name)}
    made = library.Tokenizer(library.models.BPE(vocabulary, merges))
    made.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.Split(library.Regex(SPLIT), "isolated"),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return made


def byte_letters():
    """GPT-2's printable letter for each byte, which the library's byte-level parts use."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    letters.update({b: chr(256 + i) for i, b in enumerate(x for x in range(256) if x not in plain)})
    return letters


# --- Report ---------------------------------------------------------------------------------------


def machine():
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), cpu)
    except OSError:
        pass
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions():
    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "tokenizers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", help="write the results to this JSON file")
    options.add_argument("--rounds", type=int, default=5, help="turns of each contender (5)")
    options.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    args = options.parse_args()
    keep_freed_memory()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # ours not yet in it
    small = args.quick
    threads = torch.get_num_threads() if torch else None
    tasks = {
        "training": lambda r: bench_training(r, 2 if small else 16, 64 if small else 256),
        "sampling with cache": lambda r: bench_sampling(r, 16 if small else 250, True),
        "sampling without cache": lambda r: bench_sampling(r, 16 if small else 250, False),
        "sampling 32 texts at once": lambda r: bench_many(r, 16 if small else 250, 32),
        "BPE encoding": lambda r: bench_bpe(r, 20 if small else 2000),
    }
    results = []
    print(f"{'task':30} {'ours':>12} {'theirs':>12} {'unit':9} {'ratio':>6}  beside")
    for name, task in tasks.items():
        amount, unit, times = task(args.rounds)
        speeds = {who: amount / seconds for who, seconds in times.items()}
        ours = speeds.pop("llm_primer")
        result = {"task": name, "unit": unit, "llm_primer": ours, "other": None, "ratio": None}
        line = f"{name:30} {ours:12,.1f} "
        if speeds:
            ((who, theirs),) = speeds.items()
            result.update(other=who, theirs=theirs, ratio=ours / theirs)
            line += f"{theirs:12,.1f} {unit:9} {ours / theirs:6.2f}  {who}"
        else:
            line += f"{'':12} {unit:9}"
        print(line, flush=True)
        results.append(result)
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load_before": load,
        "threads": {
            "torch": threads,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS"),
        },
        "versions": versions(),
        "model_parameters": Transformer(TransformerConfig()).num_parameters(),
        "results": results,
    }
    if args.output:
        path = Path(args.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
