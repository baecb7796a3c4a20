"""The experiment of chapter 2 in small: every setting is tried, and the counts fit together."""

from __future__ import annotations

from llm_primer.experiments import decoding, load


def test_every_setting_is_tried_and_judged():
    results = decoding.run(stories=3)
    assert [row["settings"] for row in results["rows"]] == list(decoding.SETTINGS)
    for row in results["rows"]:
        assert 3 <= row["judged"] <= row["sentences"]
        assert 0 <= row["possible"] <= row["judged"]
        assert 0 < row["different"] <= row["sentences"]


def test_the_page_s_claims_hold_of_the_stored_results():
    rows = load("decoding")["rows"]
    assert [row["settings"] for row in rows] == list(decoding.SETTINGS)
    cold, plain, hot, top_p, min_p = (row["possible"] / row["judged"] for row in rows)
    assert cold > plain > hot + 0.1
    assert min(top_p, min_p) > hot + 0.1
