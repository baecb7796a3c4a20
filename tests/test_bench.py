"""The benchmarks run, measure every task and say on what machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = BENCHMARKS / "bench_llm_primer.py"
sys.path.insert(0, str(BENCHMARKS))

import bench_build  # noqa: E402


def test_the_benchmark_writes_its_results(tmp_path):
    out = tmp_path / "new" / "results.json"
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--rounds", "1", "--output", str(out)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    report = json.loads(out.read_text())
    assert report["machine"]["cores"]
    assert report["versions"]["numpy"]
    tasks = {r["task"]: r for r in report["results"]}
    assert {"training", "sampling with cache", "sampling without cache"} <= tasks.keys()
    for name, r in tasks.items():
        assert r["llm_primer"] > 0
        assert name in result.stdout
        if r["other"]:
            assert abs(r["ratio"] - r["llm_primer"] / r["theirs"]) < 1e-9
    assert tasks["BPE encoding"]["other"] == "tokenizers"


def test_the_page_shows_the_stored_figures_of_the_builds():
    stored = BENCHMARKS / "results" / "build.json"
    report = json.loads(stored.read_text(encoding="utf-8"))
    assert stored.with_suffix(".md").read_text(encoding="utf-8") == bench_build.table(report)
    assert {"100", "400", "1600"} <= report["results"].keys()
    for size in ("100", "400"):
        assert {"ours", "bare", "hugo"} <= report["results"][size].keys(), size


def test_a_page_of_a_large_book_is_as_small_as_one_of_a_small_book():
    """Measured once for the stored figures: bytes don't depend on the machine."""
    report = json.loads((BENCHMARKS / "results" / "build.json").read_text(encoding="utf-8"))
    books = [held["ours"] for held in report["results"].values() if "ours" in held]
    small, large = books[0], books[-1]
    assert small is not large
    assert large["bytes_per_page"] < 1.15 * small["bytes_per_page"]
    assert large["first_view"]["bytes"] < 1.15 * small["first_view"]["bytes"]
    for found in (small, large):
        assert found["first_view"]["requests"] <= 9
        assert found["first_search_bytes"] <= 120_000


def test_builds_are_measured_and_earlier_figures_stay(tmp_path):
    out = tmp_path / "build.json"
    command = [sys.executable, str(BENCHMARKS / "bench_build.py"), "--output", str(out)]
    for size in ("6", "9"):
        subprocess.run(
            [*command, "--chapters", size, "--contenders", "bare", "bare, nested"],
            capture_output=True,
            check=True,
            timeout=300,
        )
    report = json.loads(out.read_text(encoding="utf-8"))
    assert list(report["results"]) == ["6", "9"]
    found = report["results"]["9"]["bare"]
    assert found["cold"]["cpu"] > 0
    assert found["bytes_per_page"] > 1000
    assert report["results"]["9"]["bare, nested"]["cold"]["cpu"] > 0
    assert "| 9 | bare |" in out.with_suffix(".md").read_text(encoding="utf-8")
