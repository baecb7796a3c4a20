"""The command line: what it prints, and what a person sees who gets something wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from llm_primer import training
from llm_primer.cli import main
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, TransformerConfig, save_model
from llm_primer.world import World


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small untrained model with the book's tokenizer."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, Transformer(TransformerConfig(width=16, layers=1, heads=2, context=96)))
    return str(path)


@pytest.fixture
def run(capsys, monkeypatch):
    """A function that runs a command and returns its status, stdout and stderr."""

    def call(*words, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = main([str(w) for w in words])
        except SystemExit as stop:  # argparse leaves this way
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


def one_line(err):
    """The message of an error: exactly one line, from us."""
    assert err.startswith("llm-primer: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("command", ["train", "sample", "score", "tokenize", "world"])
def test_every_command_explains_itself(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "usage: llm-primer" in out
    status, out, _ = run("--help")
    assert command in out


# --- tokenize ---


def test_tokenize_shows_tokens_and_decode_brings_the_text_back(run):
    text = "Mia was in the kitchen. ñ 猫\n".encode()
    status, out, _ = run("tokenize", "--json", stdin=text)
    assert status == 0
    found = json.loads(out)
    assert [t["id"] for t in found] == Tokenizer.book().encode(text.decode())
    assert "".join(t["token"] for t in found[:3]).startswith("Mia")
    status, ids, _ = run("tokenize", "--ids", stdin=text)
    result = subprocess.run(
        [sys.executable, "-m", "llm_primer", "tokenize", "--decode"],
        input=ids.encode(),
        capture_output=True,
        check=True,
    )
    assert result.stdout == text + b"\n"
    status, out, _ = run("tokenize", stdin=text)
    assert f"{len(found)} tokens, {len(text)} bytes" in out


def test_tokenize_reads_a_file(run, tmp_path):
    (tmp_path / "a.txt").write_text("the ball")
    assert run("tokenize", "--ids", tmp_path / "a.txt")[1].split() == [
        str(i) for i in Tokenizer.book().encode("the ball")
    ]


# --- world ---


def test_world_tells_the_stories_of_its_seed(run):
    status, out, _ = run("world", "-n", 3, "--seed", 7)
    assert status == 0
    assert out.splitlines() == [s.text for s in World().stories(3, 7)]
    _, out, _ = run("world", "-n", 2, "--seed", 7, "--json")
    stories = json.loads(out)
    assert stories[0]["log_prob"] == pytest.approx(World().log_prob(stories[0]["text"]))
    assert stories[0]["questions"]


def test_world_lists_what_can_follow(run):
    status, out, _ = run("world", "--next", "", "--json")
    options = json.loads(out)
    assert status == 0
    assert sum(o["probability"] for o in options) == pytest.approx(1)
    assert options[0]["probability"] >= options[1]["probability"]
    first = options[0]["sentence"]
    _, out, _ = run("world", "--next", first)
    assert len(out.splitlines()) > 10


def test_world_checks_stories(run):
    text = World().stories(1, 3)[0].text
    status, out, _ = run("world", "--check", "-", stdin=f"{text}\nNobody was there.\n".encode())
    assert status == 0
    good, bad = out.splitlines()
    assert good.startswith("possible")
    assert not bad.startswith("possible")


def test_world_states_its_entropy(run):
    status, out, _ = run("world", "--entropy", "-n", 50, "--json")
    assert status == 0
    assert json.loads(out)["nats_per_story"] > 10


# --- sample ---


def test_sample_is_reproducible_and_starts_with_the_prompt(run, weights):
    words = ["sample", "--model", weights, "--prompt", "One day,", "--max-tokens", "9", "--json"]
    first, again = run(*words)[1], run(*words)[1]
    assert json.loads(first) == json.loads(again)
    assert json.loads(first)[0]["text"].startswith("One day,")
    other = run(*words, "--seed", 1)[1]
    assert first != other


def test_sample_prints_as_it_writes_what_json_would_say(run, weights):
    words = ["--model", weights, "-n", "2", "--max-tokens", "20", "--temperature", "0.5"]
    _, whole, _ = run("sample", *words, "--json")
    result = subprocess.run(
        [sys.executable, "-m", "llm_primer", "sample", *words], capture_output=True, check=True
    )
    expected = "".join(one["text"] + "\n" for one in json.loads(whole))
    assert result.stdout.decode(errors="replace") == expected


def test_sample_searches_with_a_beam(run, weights):
    status, out, _ = run(
        "sample", "--model", weights, "--beam", 3, "-n", 2, "--max-tokens", 5, "--json"
    )
    assert status == 0
    found = json.loads(out)
    assert len(found) == 2
    assert found[0]["log_prob"] >= found[1]["log_prob"]


# --- score ---


def test_score_adds_up(run, weights):
    text = World().stories(1, 3)[0].sentences[0]
    status, out, _ = run("score", "--model", weights, "--tokens", "--json", stdin=text.encode())
    assert status == 0
    (found,) = json.loads(out)
    total = sum(t["log_prob"] for t in found["per_token"])
    assert found["log_prob"] == pytest.approx(total)
    assert found["perplexity"] == pytest.approx(np.exp(-total / found["tokens"]))


def test_score_sets_the_floor_beside(run, weights):
    lines = f"{World().stories(1, 3)[0].text}\nNobody was there.\n".encode()
    status, out, _ = run("score", "--model", weights, "--floor", stdin=lines)
    assert status == 0
    possible, impossible = out.splitlines()
    assert "in the world -" in possible
    assert "impossible in the world" in impossible


# --- train ---

SIZES = {"width": 16, "layers": 1, "heads": 2, "context": 32, "batch-size": 4, "seed": 1}
SMALL = [word for name, size in SIZES.items() for word in (f"--{name}", size)]
TEXT = "".join(f"The number {i} comes before the number {i + 1}.\n" for i in range(200)).encode()


def test_train_on_a_text_of_ones_own(run, tmp_path):
    words = ["train", "--text", "-", *SMALL, "--vocab-size", 300, "--out", tmp_path / "a", "--json"]
    status, out, err = run(*words, "--steps", 5, stdin=TEXT)
    assert (status, err) == (0, "")
    assert json.loads(out)["steps"] == 5
    assert Tokenizer.load(tmp_path / "a" / "tokenizer.json").vocab_size <= 300
    status, out, _ = run("score", "--model", tmp_path / "a", "--json", stdin=b"The number 3.")
    assert status == 0
    assert json.loads(out)[0]["log_prob"] < 0
    status, out, _ = run("sample", "--model", tmp_path / "a", "--max-tokens", 5, "--json")
    assert status == 0
    status, _, err = run(*words, "--steps", 8, "--resume", stdin=TEXT)
    assert status == 2
    assert "other settings" in one_line(err)


def test_train_hands_its_options_to_the_book_run(run, monkeypatch, tmp_path):
    def fake(folder, **options):
        seen.update(options, folder=folder)
        return training.History(step=[1, 2], valid_loss=[3.0, 2.5], tokens=7)

    seen = {}
    monkeypatch.setattr(training, "train_book_model", fake)
    status, out, _ = run(
        "train", "--out", tmp_path, "--steps", 2, "--seed", 5, "--resume", "--workers", 3
    )
    assert status == 0
    assert "2.5000 nats per token" in out
    assert seen == {
        "folder": str(tmp_path),
        "steps": 2,
        "stories": training.BOOK_STORIES,
        "workers": 3,
        "seed": 5,
        "resume": True,
        "progress": True,
    }


def test_train_explains_what_it_cannot_do(run, tmp_path):
    status, _, err = run("train", "--width", 16, "--out", tmp_path)
    assert status == 2
    assert "--width goes with --text" in one_line(err)
    status, _, err = run("train", "--text", "-", *SMALL, "--out", tmp_path, stdin=b"Too short.")
    assert status == 2
    one_line(err)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file"
    status, _, err = run("train", "--text", "-", *SMALL, "--out", out, stdin=TEXT)
    assert status == 2
    assert "Cannot write" in one_line(err)


# --- What goes wrong ---


def test_bad_text_is_refused_in_one_line(run, tmp_path, weights):
    for words in (["tokenize"], ["score", "--model", weights]):
        status, _, err = run(*words, stdin=b"")
        assert status == 2
        assert "no text" in one_line(err)
        status, _, err = run(*words, stdin=b"abc\xff")
        assert status == 2
        assert "not UTF-8 text (byte 4)" in one_line(err)
        status, _, err = run(*words, tmp_path / "nothing.txt")
        assert status == 2
        assert "No such file" in one_line(err)
    status, _, err = run("tokenize", "--decode", stdin=b"1 two")
    assert status == 2
    assert "numbers" in one_line(err)
    status, _, err = run("tokenize", "--decode", stdin=b"9999")
    assert status == 2
    one_line(err)


def test_bad_checkpoints_are_refused_in_one_line(run, tmp_path, weights):
    def sample(path):
        status, _, err = run("sample", "--model", path, "--max-tokens", 2)
        assert status == 2
        return one_line(err)

    assert "no checkpoint" in sample(tmp_path / "none.safetensors")
    whole = Path(weights).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "not a whole" in sample(tmp_path / "cut.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    assert "not a whole" in sample(tmp_path / "text.safetensors")
    small = Transformer(TransformerConfig(vocab_size=100, width=8, layers=1, heads=1))
    save_model(tmp_path / "small.safetensors", small)
    assert "do not belong together" in sample(tmp_path / "small.safetensors")
    broken = Transformer(TransformerConfig(width=8, layers=1, heads=1))
    broken.final_norm.gain.data[0] = np.nan
    save_model(tmp_path / "nan.safetensors", broken)
    assert "NaN" in sample(tmp_path / "nan.safetensors")


def test_too_long_a_text_is_refused_in_one_line(run, weights):
    long = "the ball " * 200
    status, _, err = run("score", "--model", weights, stdin=long.encode())
    assert status == 2
    assert "context of 96" in one_line(err)
    status, _, err = run("sample", "--model", weights, "--prompt", long)
    assert status == 2
    assert "context is 96" in one_line(err)


@pytest.mark.parametrize("words", [["--temperature", "-1"], ["--top-p", "2"], ["--top-k", "0"]])
def test_settings_without_sense_are_refused_in_one_line(run, weights, words):
    status, _, err = run("sample", "--model", weights, *words)
    assert status == 2
    one_line(err)


def test_unknown_options_and_numbers_are_refused(run):
    assert run("sample", "--colour")[0] == 2
    assert run("world", "-n", "0")[0] == 2
    assert run("world", "-n", "few")[0] == 2
    assert run()[0] == 2


def test_a_broken_pipe_is_quiet():
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_primer", "world", "-n", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_an_interrupt_ends_with_130(weights):
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_primer", "sample", "--model", weights, "-n", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.read(10)  # it is at work
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b""
