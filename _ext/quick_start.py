"""Builds that run no cells do not load what runs them.

MyST-NB brings a database and a client for kernels, a third of a second at every start, which only
pages with cells need. Here the modules of MyST-NB that need them are loaded with the first such
page. It stands before `myst_nb` in the list of extensions.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

PARTS = ("cache", "direct", "inline")


class Later(types.ModuleType):
    """Stands for a module until something of it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def load_and_call(*args: Any, **options: Any) -> Any:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
            return getattr(importlib.import_module(self.__name__), name)(*args, **options)

        return load_and_call


def setup(app: Sphinx) -> ExtensionMetadata:
    """Put the stand-ins into their places, where nothing stands yet."""
    for part in PARTS:
        name = f"myst_nb.core.execute.{part}"
        sys.modules.setdefault(name, Later(name))
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
