"""The librarian's experiment: a tiny run is complete, and its parts do what they say."""

from __future__ import annotations

import json

import numpy as np

from llm_primer.experiments import system
from llm_primer.transformer import load_book_model
from llm_primer.world import World


def test_a_tiny_run_is_complete(monkeypatch):
    monkeypatch.setattr(system, "load_answerer", load_book_model)
    found = system.run(
        library=6,
        missing=2,
        training=30,
        quiet=4,
        weeks=3,
        per_week=2,
        onset=1,
        step=0.5,
        loop_stories=20,
        loop_seeds=2,
        progress=False,
    )
    json.dumps(found)
    assert set(found["versions"]) == {"demo", "guarded", "int8", "int4"}
    for version in found["versions"].values():
        assert len(version["right"]) == 8
        wrong = 8 - sum(version["right"])
        assert sum(version["cause"].values()) == wrong
    assert [len(hits) for hits in found["ways"].values()] == [6, 6, 6]
    drift = found["drift"]
    assert drift["share"] == [0.0, 0.5, 1.0]
    assert drift["new"][0] == [0, 0]
    assert drift["new"][2] == [1, 1]
    assert set(drift["changed"]) == {"names", "things", "wordings", "all"}
    for batch in (drift["quiet"], *drift["changed"].values()):
        assert len(batch["surprise"]) == len(batch["right"]) == 4
    assert len(found["overlap"]["13"]) == len(found["tuning_overlap"]) == 6
    assert np.shape(found["loop"]["senders"]) == (3, 2, 12)
    assert found["loop"]["floor"][0] == 0


def test_changed_words_are_whole_words():
    words = {"ball": "violin", "went to": "set off for"}
    told = "Mia went to the ballpark. She had the ball."
    assert system.changed(told, words) == "Mia set off for the ballpark. She had the violin."


def test_what_no_true_text_brings_back_is_lost():
    world = World()
    true = [s.text.split() for s in world.stories(150, seed=60)]
    fresh = [s.text.split() for s in world.stories(40, seed=61)]
    lost = system.generations(true, fresh, 6)
    kept = system.generations(true, fresh, 6, true_share=0.3)
    assert lost["senders"][0] == kept["senders"][0]
    assert lost["senders"][-1] < lost["senders"][0]
    assert np.all(np.diff(lost["triples"]) <= 0)
    assert lost["known"][-1] < kept["known"][-1] <= kept["known"][0]
