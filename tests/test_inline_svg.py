"""SVG figures inside the page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from tiny_site import TinySite

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))

import inline_svg


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = TinySite("figures", tmp_path_factory.mktemp("figures"))
    build = site.build()
    assert build.code == 0, build.said
    return site


@pytest.fixture
def page(site):
    return BeautifulSoup(site.page("index.html"), "html.parser")


@pytest.fixture
def drawing(page):
    return page.select_one("figure svg")


def test_drawing_stands_in_the_page_with_its_words(page, drawing):
    assert drawing["role"] == "img"
    assert drawing["aria-label"] == 'An arrow to a "box".'
    assert (drawing["viewbox"], drawing["width"], drawing["height"]) == (
        "0 0 200 100",
        "200",
        "100",
    )
    assert page.select_one("figcaption .caption-number").text == "Fig. 1 "
    assert not [image for image in page.select("img") if image["src"].endswith(".svg")]
    assert drawing["data-src"] == "_images/drawing.svg"


def test_black_becomes_the_color_of_the_text_and_nothing_else_does(drawing):
    assert drawing["fill"] == "currentColor"
    line = drawing.select_one("path[mask]")
    assert (line["stroke"], line["style"]) == ("currentColor", "fill:currentColor")
    box = drawing.select("rect")[-1]
    assert (box["fill"], box["stroke"]) == ("#0000ff", "#000001")
    assert drawing.select_one("mask rect")["fill"] == "black"
    assert drawing.select_one("text")["style"] == "fill: white".replace(" ", "")


def test_ids_are_unique_and_references_follow(page):
    ids = [tag["id"] for tag in page.select("[id]")]
    assert len(ids) == len(set(ids))
    for svg in page.select("svg"):
        own = {tag["id"] for tag in svg.select("[id]")}
        cited = set(re.findall(r"url\(#([^)]+)\)", str(svg)))
        cited |= {tag["href"][1:] for tag in svg.select("use")}
        assert len(cited) == 2
        assert cited <= own
    assert "unused" not in str(page)


def test_style_sheet_reaches_no_further_than_its_drawing(drawing):
    assert drawing["style"] == "stroke-linejoin:round"
    root = drawing["id"]
    assert drawing.select_one("style").text == (f"#{root} .strong,#{root} b{{fill: currentColor}}")


def test_what_no_reader_sees_is_left_out(drawing):
    assert not drawing.select("title, metadata")
    assert drawing.select_one("path[mask]")["d"] == "M1.2 2L3 4"
    assert "inkscape" not in str(drawing)
    assert "xmlns" not in str(drawing)


def test_words_in_a_drawing_keep_their_spaces(drawing):
    assert " ".join(drawing.select_one("text").text.split()) == "two words here"


def test_sizes_of_the_author(page):
    second = page.select("svg")[1]
    assert second["style"].startswith("width:50%")
    assert "align-right" in second["class"]


def test_bitmaps_have_a_size_and_wait(page):
    image = page.select_one("img")
    assert (image["width"], image["height"], image["loading"]) == ("30", "20", "lazy")


def test_image_without_words_stops_with_file_and_line(tmp_path):
    site = TinySite("figures", tmp_path)
    site.edit("index.md", ":alt: The same.\n", "")
    build = site.build()
    assert build.code == 1
    assert build.warnings[0].startswith("index.md:12: WARNING: image without alternative text")


def test_broken_drawing_stops_with_file_and_line(tmp_path):
    site = TinySite("figures", tmp_path)
    site.write("drawing.svg", "<svg><g></svg>")
    build = site.build()
    assert build.code == 1
    assert "index.md:3: WARNING: drawing.svg is not an SVG drawing" in build.said
    assert "Traceback" not in build.said


def test_what_matplotlib_repeats_is_said_once():
    line = "M 1 2\nL 9 2\nL 9 4.04\nL 1 2\nz\n"
    shape = f'<path d="{line}" clip-path="url(#c)" style="fill: none; opacity: 0.5"/>'
    source = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt" viewBox="0 0 72 36">'
        f'<defs><clipPath id="c"/></defs><g id="a">{shape}{shape}</g></svg>'
    )
    text = inline_svg.to_html(inline_svg.prepare(source.encode(), "p-", "Two shapes"))
    group = '<g style="fill:none;stroke-opacity:0.5" clip-path="url(#p-c)">'
    assert f'{group}<path d="M1 2h8v2z"/><path d="M1 2h8v2z"/></g>' in text
    assert 'width="96" height="48"' in text


@pytest.mark.parametrize("builder", ["epub", "latex"])
def test_other_formats_get_the_file(site, builder):
    before = site.out
    assert site.build("-D", "epub_show_urls=no", builder=builder, out=builder).code == 0
    found = [file for file in Path(site.out).rglob("drawing.svg")]
    assert found[0].read_text() == (site.src / "drawing.svg").read_text()
    site.out = before
