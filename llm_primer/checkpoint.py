"""Saving arrays so that a crash never costs more than the last interval.

A file is written beside its goal under another name, forced to the disk, and then renamed.
Renaming is atomic on POSIX file systems and on Windows: whoever opens the file finds the old one
whole or the new one whole, never half of one. The format is safetensors, a JSON header followed by
raw numbers, which unlike Python's pickle cannot hold code.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError

METADATA_KEY = "llm_primer"  # safetensors keeps text only, so our metadata is one JSON text in it


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes a file so that at every moment ``path`` is the old file or the new one, each whole.

    Raises:
        PrimerError: the folder does not exist or cannot be written to, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else the rename may reach the disk before the content does
        temporary.chmod(0o644)  # temporary files are private; this one is meant to be read
        os.replace(temporary, path)
    except OSError as error:
        raise PrimerError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def save_checkpoint(
    path: str | Path, arrays: dict[str, Array], metadata: dict[str, Any] | None = None
) -> None:
    """Writes named arrays and JSON-able metadata to one safetensors file, all or nothing.

    Raises:
        PrimerError: the file cannot be written, or the metadata is not JSON.
    """
    try:
        text = json.dumps(metadata or {}, sort_keys=True)
    except TypeError as error:
        raise PrimerError(f"Cannot store the metadata: {error}.") from None
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    write_atomically(path, save(contiguous, {METADATA_KEY: text}))


def load_checkpoint(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Reads what `save_checkpoint` wrote: the arrays and the metadata.

    Raises:
        PrimerError: there is no such file, or it is truncated, damaged or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise PrimerError(f"There is no checkpoint at {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get(METADATA_KEY, "{}")
        return arrays, json.loads(text)
    except (SafetensorError, json.JSONDecodeError, OSError):
        raise PrimerError(f"{path} is not a whole safetensors checkpoint.") from None
