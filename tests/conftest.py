"""What the tests share."""

import importlib
import os
import shutil

import numpy as np
import pytest

# What a test may need beyond requirements.lock, and how to get it.
TOOLS = {
    "torch": "pip install torch --index-url https://download.pytorch.org/whl/cpu",
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


@pytest.fixture
def rng():
    return np.random.default_rng(0)
