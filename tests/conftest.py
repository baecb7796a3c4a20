"""What the tests share."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent

# Sphinx colors its warnings where it takes the terminal, or CI, to want that; tests read them.
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

# What a test may need beyond requirements.lock, and how to get it.
TOOLS = {
    "torch": "pip install torch --index-url https://download.pytorch.org/whl/cpu",
    "chromium": "apt install chromium",
    "xelatex": "apt install $(sed -n 's/^TEX_PACKAGES := //p' Makefile)",
    "epubcheck": "apt install epubcheck",
}


@pytest.fixture(scope="session")
def require_tool():
    """A function from the name of a module or program to the module, or the program's path.

    Where it is missing the test is skipped with one line that says how to get it. In CI (the
    environment variable CI is set) it fails: there nothing may go untested unnoticed.
    """

    def find(name, hint=None):
        program = shutil.which(name)
        if program:
            return program
        try:
            return importlib.import_module(name)
        except ImportError:
            how = hint or TOOLS.get(name)
            reason = f"{name} is not installed" + (f" (get it with: {how})" if how else "")
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; CI must not skip this", pytrace=False)
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def require_torch(require_tool):
    """PyTorch, the independent implementation that ours is compared with."""
    return require_tool("torch")


@pytest.fixture(scope="module")
def browser(require_tool):
    """The system's Chromium, for what only a browser shows."""
    chromium = require_tool("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site():
    """The folder of the whole site, built as strictly and with the same caches as `make html`."""
    build = ROOT / "_build"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-b", "html",
         "-d", str(build / "doctrees" / "html"), str(ROOT), str(build / "html")],
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC", "PYTHONHASHSEED": "0"},
        timeout=1500,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"the site does not build:\n{done.stderr[-4000:]}", pytrace=False)
    return build / "html"


@pytest.fixture
def rng():
    return np.random.default_rng(0)
