"""Keep drafts and posts dated after today out of the build.

An author writes `draft: true`, or a date to come, in a post's front matter. Such a post is not read
at all, so nothing can publish, list, index or announce it, and a page of it that an earlier build
wrote is taken away. One line of the build says how many there are. Today is the day in UTC, or that
of SOURCE_DATE_EPOCH where it is set; a post that becomes due comes with the next build of that day.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import front_matter
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldBack:
    """A post that this build leaves out."""

    docname: str
    draft: bool
    date: dt.date | None
    chapter: str | None


def today() -> dt.date:
    """The day that decides which posts are due."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch else dt.datetime.now(dt.UTC)
    return now.date()


def posts(app: Sphinx) -> list[HeldBack]:
    """The posts that this build leaves out, by document name."""
    found: list[HeldBack] = getattr(app.env, "held_back", [])
    return found


def _date(value: object) -> dt.date | None:
    if isinstance(value, dt.date):  # a datetime too: the front matter check refuses it
        return value.date() if isinstance(value, dt.datetime) else value
    try:
        return dt.date.fromisoformat(str(value).strip())
    except ValueError:  # the front matter check says so
        return None


def look(app: Sphinx) -> None:
    """Read the heads of all posts and note which ones are not due."""
    day = today()
    found = []
    for docname, path in front_matter.post_files(app).items():
        values = front_matter.parse(path.read_text(encoding="utf-8", errors="replace")).values
        draft, date = values.get("draft") is True, _date(values.get("date"))
        if draft or (date and date > day):
            chapter = values.get("chapter")
            found.append(HeldBack(docname, draft, date, str(chapter) if chapter else None))
    app.env.held_back = found  # type: ignore[attr-defined]
    if found:
        drafts = sum(post.draft for post in found)
        kinds = [
            f"{drafts} draft{'s' * (drafts != 1)}" * bool(drafts),
            f"{len(found) - drafts} dated after {day}" * (len(found) > drafts),
        ]
        count = f"{len(found)} post{'s' * (len(found) != 1)}"
        logger.info("held back: %s (%s)", count, ", ".join(filter(None, kinds)))


def hold(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Take the posts out of what Sphinx found, as if their files were not there.

    Not by `exclude_patterns`: a change of those is a change of configuration, and the day on which
    a post becomes due would read the whole library again.
    """
    names = {post.docname for post in posts(app)}
    removed |= names & set(env.all_docs)
    added -= names
    changed -= names
    env.project.docnames -= names
    return []


def take_away(app: Sphinx, exception: Exception | None) -> None:
    """Delete the page and the source of a post that an earlier build published."""
    output_path = getattr(app.builder, "get_output_path", None)
    if exception or output_path is None:
        return
    for post in posts(app):
        page = Path(output_path(post.docname))
        for file in [page, *Path(app.outdir, "_sources").glob(f"{post.docname}.*")]:
            file.unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; what counts as a post is ABlog's `blog_post_pattern`."""
    app.setup_extension("ablog")
    app.connect("builder-inited", look)
    app.connect("env-get-outdated", hold)
    app.connect("build-finished", take_away)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
