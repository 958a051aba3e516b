"""Every figure of the report is drawn, labelled and readable without colour."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from synthetic_comparison import synthetic_comparison

from ipex_pd.report.figures import styles, to_svg
from ipex_pd.report.html import report_figures


@pytest.fixture(scope="module")
def drawn():
    return [item for section in report_figures(synthetic_comparison()).values() for item in section]


def test_every_figure_renders_and_is_not_blank(drawn):
    assert len(drawn) > 20
    for alternative, figure in drawn:
        stream = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=60)
        grey = np.asarray(Image.open(stream).convert("L"))
        assert grey.std() > 5, alternative


def test_labels_stay_inside_the_figure(drawn):
    for alternative, figure in drawn:
        FigureCanvasAgg(figure).draw()
        width, height = figure.bbox.width, figure.bbox.height
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert box.x1 <= width + 1, alternative
            assert box.y0 >= -1, alternative
            assert box.y1 <= height + 1, alternative


def test_end_labels_do_not_cover_each_other(drawn):
    for alternative, figure in drawn:
        FigureCanvasAgg(figure).draw()
        boxes = sorted((t.get_window_extent() for t in figure.axes[0].texts), key=lambda box: box.y0)
        for lower, upper in itertools.pairwise(boxes):
            assert upper.y0 >= lower.y0 + 0.6 * lower.height, alternative


def test_same_figure_gives_same_text(drawn):
    assert to_svg(drawn[0][1], "one") == to_svg(drawn[0][1], "one")


def test_regimens_differ_in_letter_and_in_colour_or_dashes():
    look = styles([f"regimen {i}" for i in range(24)])
    assert len({s.letter for s in look.values()}) == 24
    assert len({(s.colour, s.dashes) for s in look.values()}) == 24
