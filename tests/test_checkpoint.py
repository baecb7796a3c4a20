import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llm_primer import checkpoint
from llm_primer.checkpoint import load_checkpoint, save_checkpoint
from llm_primer.errors import PrimerError
from llm_primer.feedforward import FeedForwardConfig, FeedForwardLM
from llm_primer.transformer import Transformer, TransformerConfig, load_model, save_model

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([7], dtype=np.int64)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, ARRAYS, {"step": 3, "note": "é"})
    return path


def test_what_is_saved_is_loaded(path):
    arrays, metadata = load_checkpoint(path)
    assert metadata == {"step": 3, "note": "é"}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_other_programs_can_read_it(path):
    np.testing.assert_array_equal(load_file(path)["a"], ARRAYS["a"])


def test_arrays_that_do_not_lie_in_one_piece_are_stored_right(tmp_path):
    save_checkpoint(tmp_path / "t", {"a": ARRAYS["a"].T})
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "t")[0]["a"], ARRAYS["a"].T)


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
def test_a_failure_at_any_moment_leaves_the_old_file_whole(path, monkeypatch, stage):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    if stage == "write":
        real = checkpoint.tempfile.NamedTemporaryFile

        def half_written(*args, **kwargs):
            file = real(*args, **kwargs)
            write = file.write
            file.write = lambda content: (write(content[: len(content) // 2]), fail())
            return file

        monkeypatch.setattr(checkpoint.tempfile, "NamedTemporaryFile", half_written)
    else:
        monkeypatch.setattr(os, stage, fail)
    with pytest.raises(PrimerError, match=r"Cannot write .*No space left"):
        save_checkpoint(path, {"a": np.zeros(1000)})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_process_killed_while_writing_leaves_the_old_file_whole(path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"a": np.zeros(1000)})
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_truncated_file_gets_one_clear_error(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(PrimerError, match="not a whole safetensors checkpoint"):
        load_checkpoint(path)


def test_other_mistakes_get_one_clear_error(path, tmp_path):
    with pytest.raises(PrimerError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(PrimerError, match="no checkpoint at"):
        load_checkpoint(tmp_path)
    with pytest.raises(PrimerError, match="Cannot write"):
        save_checkpoint(tmp_path / "no" / "folder", ARRAYS)
    with pytest.raises(PrimerError, match="metadata"):
        save_checkpoint(path, ARRAYS, {"x": object()})


def test_a_model_of_another_kind_or_shape_gets_one_clear_error(tmp_path):
    path = tmp_path / "m"
    save_model(path, FeedForwardLM(FeedForwardConfig(vocab_size=5, width=2, hidden=3)))
    with pytest.raises(PrimerError, match="does not hold a transformer"):
        load_model(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(PrimerError, match="does not hold a transformer"):
        load_model(path)

    model = Transformer(TransformerConfig(vocab_size=5, context=4, width=4, layers=1, heads=1))
    arrays = dict(model.arrays())
    head = {"kind": "transformer", "config": model.config.to_dict()}
    save_checkpoint(path, {**arrays, "embed.weight": np.zeros((6, 4))}, head)
    with pytest.raises(PrimerError, match=r"'embed.weight' has shape \(6, 4\)"):
        load_model(path)
    del arrays["final_norm.gain"]
    save_checkpoint(path, arrays, head)
    with pytest.raises(PrimerError, match=r"lack 'final_norm\.gain'"):
        load_model(path)
    save_checkpoint(path, arrays, {**head, "config": {"depth": 3}})
    with pytest.raises(PrimerError, match="no field 'depth'"):
        load_model(path)
