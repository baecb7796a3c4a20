"""Read the YAML front matter of a Markdown file, with the line that each key stands on.

Not an extension: what the extensions that look at posts share, so that all of them see the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx

# libyaml where PyYAML has it: ten times faster, and every build reads the head of every post.
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRINGS: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass
class FrontMatter:
    """The head of a file: its values, where they stand, and what is wrong with it as YAML."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    length: int = 0  # lines from the opening to the closing "---", both counted; 0: there is none
    error: str = ""
    error_line: int = 1


def parse(text: str) -> FrontMatter:
    """Read the front matter at the start of `text`; never raises."""
    rows = text.splitlines()
    if not rows or rows[0].rstrip() != "---":
        return FrontMatter(
            error="there is no front matter: begin with ---, `key: value` lines, ---"
        )
    end = next((i for i, row in enumerate(rows[1:], 1) if row.rstrip() in ("---", "...")), None)
    if end is None:
        return FrontMatter(error="the front matter has no closing ---")
    found = FrontMatter(length=end + 1)
    source = "\n".join(rows[1:end]) + "\n"
    try:
        tree = yaml.compose(source, Loader=_SAFE)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        found.error = f"the front matter is not valid YAML: {getattr(problem, 'problem', problem)}"
        found.error_line = min(mark.line + 2, end + 1) if mark else 1
        return found
    if tree is None:
        return found
    if not isinstance(tree, yaml.MappingNode):
        found.error = "the front matter is not a list of `key: value` lines"
        return found
    found.lines = {str(key.value): key.start_mark.line + 2 for key, _ in tree.value}
    try:
        values = yaml.load(source, Loader=_SAFE)
    except (ValueError, yaml.YAMLError):  # an unquoted date that no calendar has
        values = yaml.load(source, Loader=_STRINGS)
    found.values = {str(key): value for key, value in values.items()}
    return found


def replace(text: str, found: FrontMatter, values: dict[str, Any]) -> str:
    """Put `values` in the place of the front matter, on one line: later lines keep their number."""
    rows = text.splitlines(keepends=True)
    head = [json.dumps(values, default=str, ensure_ascii=False)]
    head += [""] * (found.length - 3)
    return "\n".join(["---", *head, "---", ""]) + "".join(rows[found.length :])


def post_files(app: Sphinx) -> dict[str, Path]:
    """Document name and file of every post, published or not, in the order of their names."""
    patterns = app.config.blog_post_pattern
    root = Path(app.srcdir)
    found = {
        path.relative_to(root).with_suffix("").as_posix(): path
        for pattern in ([patterns] if isinstance(patterns, str) else patterns)
        for path in root.glob(pattern)
        if path.suffix == ".md"
    }
    return dict(sorted(found.items()))
