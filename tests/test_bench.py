"""The benchmark runs, measures every task and says on what machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "bench_llm_primer.py"


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
