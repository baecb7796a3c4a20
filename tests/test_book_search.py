"""The search's index: what is found, in which order, and how little is fetched."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_site import TinySite

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))

import book_search  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("pages", tmp_path_factory.mktemp("pages"))
    build = site.build("-j", "2")
    assert build.code == 0, build.said
    return site


@pytest.fixture(scope="module")
def search_js():
    """The words of search.js, in the engine that also lays out the mathematics."""
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval("var location = {href: ''}, document = {}; function URL() {}")
    engine.eval((ROOT / "_static" / "search.js").read_text(encoding="utf-8") + ";0")
    return lambda text: json.loads(engine.eval(f"JSON.stringify(words({json.dumps(text)}))"))


def piece(site, name):
    text = site.page(f"search/{name}.js")
    return json.loads(re.fullmatch(r'bookSearch\("\w+",(.*)\)\n', text, re.DOTALL)[1])


def all_sections(site):
    count = len(list((site.out / "search").glob("s*.js")))
    return [section for number in range(count) for section in piece(site, f"s{number}")]


def answers(site, word):
    """Sections that have the word, best first."""
    found = []
    for file in (site.out / "search").glob("w*.js"):
        section = 0
        pairs = piece(site, file.stem).get(book_search.stem(word), [])
        for step, mark in zip(pairs[::2], pairs[1::2], strict=True):
            section += step
            found.append((-mark, section))
    sections = all_sections(site)
    return [sections[section] for _, section in sorted(found)]


def test_sections_are_found_with_page_heading_and_address(site):
    best = answers(site, "pairs")[0]
    assert best == [
        "volumes/1-first/01-tokens.html#how-they-are-made",
        "Tokens",
        "How they are made",
        "Volume I",
        "A tokenizer merges the most frequent pair. Naïve readers count letters."
        " Solution to the first exercise Forty-two.",
    ]


def test_chapters_come_before_pages_that_match_as_well(site):
    assert answers(site, "tokenizer")[0][1] == "Tokens"
    assert "Pages" in [section[1] for section in answers(site, "tokenizer")]


def test_terms_of_the_glossary_are_found_by_themselves(site):
    assert answers(site, "logits")[0][:3] == ["glossary.html#term-logit", "Glossary", "logit"]


def test_code_is_found_but_not_shown(site):
    found = answers(site, "merge")
    assert found
    assert "merge_pairs" not in found[0][4]


def test_headings_are_as_plain_as_words(site):
    assert answers(site, "naive")
    assert not answers(site, "frac"), "TeX is no word"


def test_scopes_are_ranges_of_sections(site):
    index = piece(site, "index")
    sections = all_sections(site)
    scopes = {label: (start, end) for label, start, end in index["scopes"]}
    start, end = scopes["Volume I"]
    assert {section[1] for section in sections[start:end]} == {"Volume I", "Tokens", "Scores"}
    assert scopes["Everything"] == (0, len(sections))


def test_lists_and_generated_pages_are_not_found(site):
    assert not {"genindex.html", "search.html"} & {section[0] for section in all_sections(site)}
    assert not (site.out / "searchindex.js").exists()


def test_a_build_without_changes_leaves_the_index(site):
    index = site.out / "search" / "index.js"
    before = index.stat().st_mtime_ns
    assert site.build().code == 0
    assert index.stat().st_mtime_ns == before


def test_an_edit_and_a_removal_reach_the_index(tmp_path):
    site = TinySite("pages", tmp_path)
    assert site.build().code == 0
    site.edit("volumes/1-first/02-scores.md", "probabilities", "chances")
    (site.src / "glossary.md").unlink()
    site.edit("index.md", "glossary\n", "")
    assert site.build().code == 0
    assert answers(site, "chances")
    assert not answers(site, "logit")


@pytest.mark.parametrize("volumes", [2, 8, 80])
def test_a_word_of_every_section_fetches_a_bounded_piece(volumes):
    spans = [(start, start + 140) for start in range(0, 140 * volumes, 140)]
    marks = [(section, section % 97 + 1) for section in range(140 * volumes)]
    kept = book_search._best(marks, spans)
    assert len(kept) <= book_search.BEST + book_search.SHARED
    assert max(mark for _, mark in kept) == 97
    for start, end in spans:
        assert any(start <= section < end for section, _ in kept), "a volume without an answer"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tokens", "token"),
        ("tokenized", "tokenize"),
        ("merging", "merges"),
        ("probabilities", "probability"),
        ("stopped", "stop"),
        ("Naïve", "naive"),
    ],
)
def test_words_meet_without_their_endings(one, other):
    assert book_search.words(one) == book_search.words(other)


def test_script_and_index_agree_on_words_of_the_book(search_js):
    text = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "volumes").rglob("*.md"))
    assert search_js(text) == book_search.words(text)


@given(st.text(alphabet=st.sampled_from("abcdeginlsuyzé'’ -3S"), max_size=30))
def test_script_and_index_agree_on_any_words(search_js, text):
    assert search_js(text) == book_search.words(text)
