"""Entropy, divergence and perplexity against SciPy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from llm_primer import information as info
from llm_primer.errors import PrimerError
from llm_primer.plotting import BACKGROUNDS, COLORS, contrast


@st.composite
def pairs(draw):
    n = draw(st.integers(1, 8))
    weights = st.lists(st.floats(0.01, 1), min_size=n, max_size=n)
    p, q = np.array(draw(weights)), np.array(draw(weights))
    return p / p.sum(), q / q.sum()


@given(pairs())
def test_measures_agree_with_scipy(pair):
    p, q = pair
    assert info.entropy(p) == pytest.approx(scipy_entropy(p), abs=1e-12)
    assert info.kl_divergence(p, q) == pytest.approx(scipy_entropy(p, q), abs=1e-12)
    assert info.cross_entropy(p, q) == pytest.approx(
        scipy_entropy(p) + scipy_entropy(p, q), abs=1e-12
    )
    assert info.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-9)
    assert info.entropy_bits(p) == pytest.approx(scipy_entropy(p, base=2), abs=1e-12)


def test_by_hand():
    assert info.entropy([0.5, 0.5]) == pytest.approx(math.log(2))
    assert info.entropy([1.0, 0.0]) == 0
    assert info.cross_entropy([1.0, 0.0], [0.0, 1.0]) == math.inf
    assert info.kl_divergence([1.0, 0.0], [0.0, 1.0]) == math.inf
    assert info.kl_divergence([0.5, 0.5], [0.5, 0.5]) == 0
    assert info.surprisal(0.25) == pytest.approx(math.log(4))
    assert info.perplexity([math.log(0.25)] * 3) == pytest.approx(4)
    assert info.mutual_information([[0.25, 0.25], [0.25, 0.25]]) == pytest.approx(0)
    assert info.mutual_information([[0.5, 0.0], [0.0, 0.5]]) == pytest.approx(math.log(2))


def test_leading_axes_are_kept():
    p = np.full((3, 2, 4), 0.25)
    assert info.entropy(p).shape == (3, 2)
    np.testing.assert_allclose(info.kl_divergence(p, [0.25] * 4), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("p", "complaint"),
    [
        ([0.5, 0.4], "sum"),
        ([1.5, -0.5], "negative"),
        ([math.nan, 1.0], "NaN"),
        ([], "no outcomes"),
        (1.0, "no outcomes"),
    ],
)
def test_what_is_no_distribution_is_refused(p, complaint):
    with pytest.raises(PrimerError, match=complaint):
        info.entropy(p)


def test_other_bad_input_is_refused():
    with pytest.raises(PrimerError, match="outcomes"):
        info.kl_divergence([0.5, 0.5], [1.0])
    with pytest.raises(PrimerError, match="no tokens"):
        info.perplexity([])
    with pytest.raises(PrimerError, match="between 0 and 1"):
        info.surprisal(1.5)
    with pytest.raises(PrimerError, match="table"):
        info.mutual_information([1.0])


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("name", COLORS)
def test_colors_stand_out_in_light_and_in_dark_mode(name, background):
    assert contrast(COLORS[name], background) >= 3


def test_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_the_same_figure_is_the_same_svg_with_text_as_text(tmp_path):
    mpl = pytest.importorskip("matplotlib")
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from llm_primer.plotting import FIGURE_SIZE, use_book_style

    with mpl.rc_context():
        use_book_style()
        for name in ("a.svg", "b.svg"):
            fig, ax = plt.subplots()
            ax.plot([0, 1], [0, 1])
            ax.set_title("A line")
            assert tuple(fig.get_size_inches()) == FIGURE_SIZE
            fig.savefig(tmp_path / name, metadata={"Date": None})
            plt.close(fig)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert ">A line</text>" in first
    assert COLORS["blue"] in first
    assert "fill: #ffffff" not in first
