"""`make live`: what is saved is served, also after a mistake."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path

import pytest
from tiny_site import TinySite

LIVE = Path(__file__).parents[1] / "_ext" / "live.py"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def live(tmp_path):
    site, port = TinySite("pages", tmp_path), free_port()
    command = [sys.executable, str(LIVE), "--port", str(port), "-c", str(site.conf)]
    command += ["-d", str(tmp_path / "doctrees"), str(site.src), str(site.out)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    ) as process:
        yield site, f"http://127.0.0.1:{port}/", process
        process.terminate()


def comes(address: str, words: str) -> bool:
    """Whether a page says something before long; how long does not matter."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                if words in answer.read().decode():
                    return True
        except (OSError, HTTPException):
            pass  # not there yet, or cut short: the page is just being written
        time.sleep(0.2)
    return False


def test_what_is_saved_is_served(live):
    site, address, process = live
    assert comes(address + "glossary.html", "A score"), process.poll()
    site.edit("glossary.md", "A score", "A number")
    assert comes(address + "glossary.html", "A number")
    site.edit("glossary.md", "A number", "{nonsense}`A` number")
    site.edit("glossary.md", "{nonsense}`A` number", "A figure")
    assert comes(address + "glossary.html", "A figure")
