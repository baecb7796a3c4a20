"""Build the tiny sites under tests/sites/ in a temporary folder, as often as a test needs."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.console import strip_escape_sequences
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "_ext"))


@dataclass
class Build:
    """What one build said and wrote."""

    output: Path
    warnings: list[str]
    status: str
    written: set[str]

    def html(self, docname: str) -> BeautifulSoup:
        return BeautifulSoup(self.text(f"{docname}.html"), "html.parser")

    def text(self, name: str) -> str:
        return (self.output / name).read_text(encoding="utf-8")


class TinySite:
    """A copy of a site under tests/sites/ that a test may change and build again."""

    def __init__(self, name: str, folder: Path) -> None:
        self.source = folder / "source"
        self.folder = folder
        shutil.copytree(ROOT / "tests" / "sites" / name, self.source)
        conf = self.source / "conf.py"
        conf.write_text(
            conf.read_text().replace("Path(__file__).parents[3]", f"Path({str(ROOT)!r})")
        )

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.source / name).read_text(encoding="utf-8")
        assert old in text, f"{name} does not contain {old!r}"
        self.write(name, text.replace(old, new))

    def remove(self, name: str) -> None:
        (self.source / name).unlink()

    def rename(self, old: str, new: str) -> None:
        (self.source / old).rename(self.source / new)

    def build(self, builder: str = "html", jobs: int = 1, fresh: bool = False) -> Build:
        """Build; keeps the environment between calls unless `fresh`."""
        output = self.folder / "output" / builder
        doctrees = self.folder / "doctrees" / builder
        if fresh:
            shutil.rmtree(output, ignore_errors=True)
        status, warnings = io.StringIO(), io.StringIO()
        written: set[str] = set()
        with patch_docutils(str(self.source)), docutils_namespace(), contextlib.chdir(self.source):
            app = Sphinx(
                self.source,
                self.source,
                output,
                doctrees,
                builder,
                status=status,
                warning=warnings,
                freshenv=fresh,
                parallel=jobs,
            )
            app.connect("doctree-resolved", lambda app, tree, name: written.add(name))
            app.build()
        said = strip_escape_sequences(warnings.getvalue()).replace(f"{self.source}/", "")
        return Build(
            output, [line for line in said.splitlines() if line], status.getvalue(), written
        )
