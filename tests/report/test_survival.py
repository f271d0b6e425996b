"""The cohort figure: as wide as a journal's page, fonts inside, and right for any groups."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from atomseg.cohort import Assignment, CohortConfig, CohortStatistics, Observations, cohort_statistics
from atomseg.cohort.gather import IMAGE_FIELDS, POINT_FIELDS
from atomseg.report import cohort_figure, cohort_figure_files

POINTS_AN_INCH = 72


def statistics(*groups: tuple[str, str, float, int], phases: bool = True) -> CohortStatistics:
    """Groups by name, kind of surface, thickness in nm (beyond a view of 15 nm: censored) and particles."""
    points, images = [], []
    for name, kind, base, n in groups:
        for k in range(n):
            true = base * (1 + 0.1 * k) + np.linspace(-0.5, 0.5, 8)
            image = f"{name}{kind}{k}"
            points += [
                (name, name, f"p{k}", image, image, kind, min(t, 15.0), t <= 15.0, 15.0, 0.5, 80.0, "") for t in true
            ]
            images.append((name, name, f"p{k}", image, kind, 0.6, 0.3, 0.1, 0.0, 2.0 * k, 100.0))
    seen = Observations(
        pd.DataFrame(points, columns=list(POINT_FIELDS)),
        pd.DataFrame(images if phases else [], columns=list(IMAGE_FIELDS)),
        Assignment({}, ("sample",)),
    )
    return cohort_statistics(seen, CohortConfig(resamples=100))


@pytest.fixture(scope="module")
def told() -> CohortStatistics:
    return statistics(
        ("SC", "outer", 4.0, 4), ("QSC", "outer", 6.0, 3), ("QSC", "crack", 20.0, 3), ("PC", "outer", 9.0, 2)
    )


@pytest.fixture(scope="module")
def files(told: CohortStatistics) -> dict[str, bytes]:
    return cohort_figure_files(told)


def test_fonts_travel_with_the_figure(files: dict[str, bytes]) -> None:
    pdf = files["cohort_figure.pdf"]
    assert b"/FontFile2" in pdf  # TrueType: text stays text and looks the same everywhere
    assert b"/Type3" not in pdf  # which journals refuse
    svg = ET.fromstring(files["cohort_figure.svg"])
    assert not [node for node in svg.iter() if node.tag.endswith("}text")]  # outlines need no font
    assert b"http://" not in re.sub(rb'xmlns[^=]*="[^"]*"|"http://(www.w3.org|purl.org|creativecommons.org)[^"]*"', b"",
                                    files["cohort_figure.svg"].partition(b"<svg")[2])  # fmt: skip


def test_it_is_seven_inches_wide(files: dict[str, bytes]) -> None:
    box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", files["cohort_figure.pdf"])
    assert box
    width, height = (float(v) for v in box[1].split()[2:])
    assert width == 7 * POINTS_AN_INCH
    assert height < 9.5 * POINTS_AN_INCH  # a page with room for the caption
    assert b'width="504pt"' in files["cohort_figure.svg"]


def test_the_same_statistics_give_the_same_bytes(told: CohortStatistics, files: dict[str, bytes]) -> None:
    assert cohort_figure_files(told) == files


def test_one_panel_a_kind_of_surface_with_every_group_and_its_n(told: CohortStatistics) -> None:
    figure = cohort_figure(told)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:2] == ["a  Outer surface", "b  Crack surface"] or titles[:2] == [
        "a  Crack surface",
        "b  Outer surface",
    ]
    outer = figure.axes[[t[3:] for t in titles].index("Outer surface")]
    legend = outer.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert [text.split(":")[0] for text in texts] == ["PC", "QSC", "SC"]
    assert "2 particles, 2 images,\n16 points, 0 % censored,\ndescriptive only" in texts[0]
    # A band where there are particles enough: QSC and SC.
    assert len(outer.collections) == 2


def test_no_text_leaves_the_figure(told: CohortStatistics) -> None:
    figure = cohort_figure(told)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box is not None
        # Half a point of slack for the width of lines.
        assert box.x0 > -1
        assert box.y0 > -1
        assert box.x1 < width + 1
        assert box.y1 < height + 1


def test_three_kinds_of_surface_with_few_particles_leave_room_for_the_curves() -> None:
    figure = cohort_figure(statistics(*[("QSC-811", kind, 4.0, 2) for kind in ("outer", "crack", "pore")]))
    figure.draw_without_rendering()
    width, _ = figure.get_size_inches() * figure.dpi
    curves = [ax for ax in figure.axes if ax.get_xlabel() == "depth (nm)"]
    assert len(curves) == 3
    for ax in curves:
        # A third of the width, less the scale and its label, which take a quarter of that.
        assert ax.get_window_extent().width > 0.6 * width / 3
        legend = ax.get_legend()
        assert legend is not None
        assert legend.get_window_extent().x1 < width


@pytest.mark.parametrize(
    "groups",
    [
        [("A", "outer", 0.0, 3)],  # no layer anywhere
        [("A", "crack", 40.0, 3)],  # nothing but bounds
        [("A", kind, 4.0, 3) for kind in ("outer", "crack", "pore", "unknown")],  # more panels than a row holds
        [(name, "outer", 4.0, 1) for name in "ABCDEFGH"],  # more groups than colours
    ],
)
def test_odd_cohorts_are_drawn(groups: list[tuple[str, str, float, int]]) -> None:
    told = statistics(*groups)
    assert set(cohort_figure_files(told)) == {"cohort_figure.pdf", "cohort_figure.svg", "cohort_figure.png"}


def test_without_judged_phases_the_figure_says_so() -> None:
    figure = cohort_figure(statistics(("A", "outer", 4.0, 3), phases=False))
    assert "not judged" in [text.get_text() for ax in figure.axes for text in ax.texts]
