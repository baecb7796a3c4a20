"""A copy of one of the small sites under tests/sites, to change and to build."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SITES = Path(__file__).parent / "sites"


@dataclass
class Build:
    """What a build left and said."""

    code: int
    said: str
    warnings: list[str]


class TinySite:
    def __init__(self, name: str, folder: Path) -> None:
        self.conf = SITES / name
        self.src = folder / "source"
        self.out = folder / "html"
        shutil.copytree(self.conf, self.src)

    def write(self, path: str, text: str) -> None:
        file = self.src / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.src / path).read_text(encoding="utf-8")
        assert old in text
        self.write(path, text.replace(old, new))

    def page(self, path: str) -> str:
        return (self.out / path).read_text(encoding="utf-8")

    def build(
        self,
        *options: str,
        out: str = "html",
        builder: str = "html",
        today: str | None = None,
        zone: str = "UTC",
    ) -> Build:
        """Build as `make html` does; `today` is a day that stands for the clock."""
        self.out = self.src.parent / out
        env = {**os.environ, "TZ": zone, "PYTHONHASHSEED": "0"}
        env.pop("SOURCE_DATE_EPOCH", None)
        if today:
            noon = dt.datetime.fromisoformat(f"{today}T12:00:00+00:00")
            env["SOURCE_DATE_EPOCH"] = str(int(noon.timestamp()))
        doctrees = self.src.parent / f"{out}-doctrees"
        # The configuration stays where it is: it finds the extensions from its own place.
        command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-b", builder]
        command += ["-c", str(self.conf), "-d", str(doctrees), *options]
        done = subprocess.run(
            [*command, str(self.src), str(self.out)],
            capture_output=True,
            text=True,
            env=env,
            timeout=180,
        )
        lines = [line.replace(f"{self.src}/", "") for line in done.stderr.splitlines()]
        return Build(done.returncode, done.stdout + done.stderr, [row for row in lines if row])

    def files(self) -> dict[str, bytes]:
        """Everything that a reader can fetch."""
        return {
            file.relative_to(self.out).as_posix(): file.read_bytes()
            for file in sorted(self.out.rglob("*"))
            if file.is_file() and file.name not in (".buildinfo", "environment.pickle")
        }
