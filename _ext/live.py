"""`make live`: sphinx-autobuild, with builds that need not start Python and import Sphinx anew.

Half of the time between saving a page and seeing it went into imports. Here they are made once,
when the server starts; each build runs in a fork of the process that has them, and leaves nothing
behind. After a change to the extensions or the configuration, and where processes cannot fork,
builds start from nothing as they do without this.

    python _ext/live.py [options of sphinx-autobuild] SOURCE OUTPUT
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sphinx_autobuild.build
from sphinx.application import builtin_extensions
from sphinx.cmd.build import main as build
from sphinx_autobuild.__main__ import main as serve

ROOT = Path(__file__).resolve().parents[1]
THEMES = ("sphinx_book_theme", "pydata_sphinx_theme")


def code_changed() -> int:
    """When anything that was imported from the project was last changed."""
    files = [ROOT / "conf.py", *Path(__file__).parent.glob("*.py")]
    return max(file.stat().st_mtime_ns for file in files)


class Builds:
    """Stands for `subprocess.run` where sphinx-autobuild starts Sphinx."""

    def __init__(self) -> None:
        self.known = code_changed()
        settings = runpy.run_path(str(ROOT / "conf.py"))
        for name in (*builtin_extensions, *settings["extensions"], *THEMES):
            importlib.import_module(name)

    def __call__(self, command: list[str], check: bool) -> Any:
        """Run a build, and fail as `subprocess.run` does."""
        if command[1:4] != ["-m", "sphinx", "build"] or code_changed() != self.known:
            return subprocess.run(command, check=check)
        sys.stdout.flush()
        if not (child := os.fork()):
            code = 1
            try:
                code = build(command[4:])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code and check:
            raise subprocess.CalledProcessError(code, command)
        return code


if __name__ == "__main__":
    if hasattr(os, "fork"):
        # sphinx-autobuild makes a process for each build: as a fork it has the imports.
        multiprocessing.set_start_method("fork")
        sphinx_autobuild.build.subprocess = SimpleNamespace(
            run=Builds(), CalledProcessError=subprocess.CalledProcessError
        )
    serve(sys.argv[1:])
