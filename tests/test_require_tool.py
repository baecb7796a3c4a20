"""A test that needs a missing tool is skipped at home and fails in CI."""

import pytest


def test_what_is_there_is_handed_over(require_tool):
    assert require_tool("json").loads("[1]") == [1]
    assert require_tool("sh").endswith("sh")


def test_what_is_missing_skips_with_one_line_that_helps(require_tool, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^no_such_tool is not installed \(get it"):
        require_tool("no_such_tool", "apt-get install it")


def test_in_ci_what_is_missing_fails(require_tool, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must not skip this"):
        require_tool("no_such_tool")
