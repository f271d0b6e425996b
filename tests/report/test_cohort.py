"""The cohort page: every row is there, nothing is fetched from anywhere, and names can not break it."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from atomseg.report import cohort_html
from atomseg.report.gather import survival_curve

ROW = {
    "file": "/data/x.dm4", "folder": "a b/x#1", "status": "done", "reason": "", "n_columns": 812, "layered": 0.9,
    "rocksalt": 0.1, "o1": 0.0, "unresolved": 0.0, "thickness_mean_nm": 3.14, "thickness_p05_nm": 2.0,
    "thickness_p95_nm": 4.5, "censored": False, "class": "thin", "class_probability": 0.98, "warnings": "one | two",
    "n_surfaces": 1, "n_faults": 0,
}  # fmt: skip
COUNTS = {
    "samples": 1, "particles": 4, "images": 9, "surfaces": 9, "points": 512,
    "right_censored": 0.1, "left_censored": 0.0,
}  # fmt: skip


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split()).replace("\xa0", " ")


def outcome(name: str, estimate: float | None, *, bound: str = "", **more: object) -> dict[str, object]:
    return {"outcome": name, "unit": "nm", "estimate": estimate, "lower": 6.1, "upper": 8.4, "bound": bound,
            "counts": COUNTS} | more  # fmt: skip


def cohort(**changes: object) -> dict[str, object]:
    """What atomseg.cohort writes for one group of one kind of surface."""
    particle = {"particle": "p1", "sample": "s1", "images": 2, "points": 128, "right_censored": 0.0,
                "values": {"median": 7.0, "restricted_mean": 6.9}}  # fmt: skip
    curve = {"depth_nm": [0.0, 5.0, 10.0], "beyond": [1.0, 0.8, 0.1], "lower": [1.0, 0.6, 0.0],
             "upper": [1.0, 0.9, 0.3], "particles_in_view": [4, 4, 2], "detection_nm": 0.5,
             "follow_up_nm": 9.0}  # fmt: skip
    group = {"group": "QSC", "surface_kind": "crack", "descriptive_only": False, "outcomes": [outcome("median", 7.2)],
             "curve": curve, "particles": [particle]}  # fmt: skip
    return {"schema": "atomseg.cohort/1", "level": 0.9, "groups": [group | changes], "differences": [],
            "notes": ["Crack and outer surfaces are kept apart"]}  # fmt: skip


def page_with(content: object, folder: Path) -> _Page:
    (folder / "cohort.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return _Page(cohort_html([ROW], folder))


def test_a_done_row_shows_its_numbers() -> None:
    text = _Page(cohort_html([ROW])).text
    for told in ("812", "3.1 nm [2.0 to 4.5]", "thin p = 0.98", "R-3m 90.0 %, rocksalt 10.0 %", "1 of 2: one two"):
        assert told in text


def test_a_censored_row_is_a_lower_bound() -> None:
    assert "at least 3.1 nm" in cohort_html([{**ROW, "censored": True}])
    assert "at least 3.1 nm" in cohort_html([{**ROW, "censored": "True"}])  # as read back from summary.csv
    only_bound = {**ROW, "thickness_mean_nm": "", "thickness_lower_bound_nm": "14.2", "class": ""}
    assert "at least 14.2 nm" in cohort_html([only_bound])


def test_surfaces_that_differ_are_told_and_count_under_the_thickest() -> None:
    differing = {**ROW, "class": "intermediate", "thickness_mean_nm": 16.7, "surfaces_differ": "True",
                 "thickest_surface_nm": "21.7", "thickest_surface_class": "thick",
                 "thickest_surface_censored": "False",
                 "surfaces": "surface 0: 21.7 nm (thick), surface 1: 6.0 nm (intermediate)",
                 "n_surfaces": 2}  # fmt: skip
    page = cohort_html([differing, ROW])
    text = _Page(page).text
    assert "surface 0: 21.7 nm (thick) surface 1: 6.0 nm (intermediate) thick surfaces differ" in text
    assert "16.7" not in text
    assert "1 thin 1 thick 1 of these with surfaces that differ" in text
    assert 'data-class="thick"' in page
    # The spread of both surfaces together is that of neither: no bar is drawn.
    low, high = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="7" y2="7" stroke="#0072b2"', page)[0]
    assert low == high
    assert "<option>intermediate</option>" not in page


def test_links_stay_in_the_folder_and_survive_odd_names() -> None:
    links = _Page(cohort_html([ROW])).links
    assert "a%20b/x%231/page.html" in links
    assert not any(link.startswith(("http", "//", "/")) for link in links)


def test_a_result_without_a_page_leads_to_its_figure(tmp_path: Path) -> None:
    (tmp_path / "a b" / "x#1").mkdir(parents=True)
    assert "a%20b/x%231/overview.png" in _Page(cohort_html([ROW], tmp_path)).links
    (tmp_path / "a b" / "x#1" / "page.html").touch()
    assert "a%20b/x%231/page.html" in _Page(cohort_html([ROW], tmp_path)).links


def test_text_of_files_can_not_become_markup(tmp_path: Path) -> None:
    evil = "<i>x</i></script><script>alert(1)</script>"
    folder = tmp_path / evil.replace("/", "_")
    folder.mkdir()
    (folder / "thickness.csv").write_text("thickness_nm,event\n3.0,1\n", encoding="utf-8")
    told = {**ROW, "folder": folder.name, "warnings": evil, "class": evil}
    failed = {**ROW, "status": "failed", "folder": evil, "reason": evil}
    plain = {**ROW, "folder": "x"}
    scripts = _Page(cohort_html([plain, plain], tmp_path)).tags.count("script")
    page = _Page(cohort_html([told, failed], tmp_path))
    assert "i" not in page.tags
    # One more than without curves to draw: the plot library.
    assert page.tags.count("script") == scripts + 1


def test_failures_are_listed_with_their_reason() -> None:
    text = _Page(cohort_html([{**ROW, "status": "refused", "reason": "no pixel size"}, ROW])).text
    assert "refused: no pixel size" in text
    assert "2 micrographs: 1 refused, 1 done" in text


def test_an_empty_cohort() -> None:
    assert "no micrographs" in cohort_html([])


def test_groups_are_told_with_their_interval_and_n(tmp_path: Path) -> None:
    fewer = COUNTS | {"images": 8, "points": 0}
    entries = [
        outcome("median", 7.2),
        outcome("p25", 5.0),
        outcome("p75", None, bound="beyond_view", upper=None),
        outcome("rocksalt", 0.4, unit="share", lower=0.3, upper=0.5, counts=fewer),
    ]
    text = page_with(cohort(outcomes=entries), tmp_path).text
    assert "group, surface median thickness quartiles rocksalt QSC, crack 4 particles, 9 images, 512 points" in text
    assert "10 % lower bounds 7.2 nm [6.1 to 8.4] 5.0 nm more than 6.1 nm 40.0 % [30.0 to 50.0] n = 4 / 8" in text
    assert "Crack and outer surfaces are kept apart" in text


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (outcome("median", None, bound="beyond_view", upper=None), "more than 6.1 nm"),
        (outcome("median", None, bound="below_detection", lower=None, upper=0.5), "below 0.5 nm"),
        (outcome("median", 7.2, upper=None), "7.2 nm [6.1 to open]"),
        (outcome("rocksalt", 0.25, unit="share", lower=0.2, upper=0.31), "25.0 % [20.0 to 31.0]"),
        (outcome("fault_density", 0.0123, unit="1/nm", lower=None, upper=None), "0.012 /nm"),
    ],
)
def test_open_and_censored_estimates_say_so(tmp_path: Path, entry: dict[str, object], told: str) -> None:
    assert told in page_with(cohort(outcomes=[entry]), tmp_path).text


def difference(name: str, first: str, second: str, **more: object) -> dict[str, object]:
    return {"outcome": name, "unit": "nm", "estimate": 2.0, "lower": -0.04, "upper": 4.5, "p_value": 0.0286,
            "p_holm": 0.1143, "test": "exact permutation", "rearrangements": 70, "particles": [4, 5],
            "first": [first, "outer"], "second": second.split()} | more  # fmt: skip


def test_differences_are_one_row_a_pair_with_their_test(tmp_path: Path) -> None:
    told = cohort()
    told["differences"] = [
        difference("rocksalt", "A", "B outer", unit="share", estimate=-0.125, lower=-0.2, upper=-0.0001, p_value=1.0),
        difference("median", "A", "B outer", estimate=None, upper=None),
        difference("median", "A", "A crack", p_value=None, p_holm=None, test="descriptive only"),
    ]
    text = page_with(told, tmp_path).text
    assert "pair, surface median thickness rocksalt A − B, outer 4 and 5 particles exact permutation" in text
    assert "not reached [0.0 to open] p = 0.029, Holm 0.11" in text  # -0.04 rounds to zero, which has no sign
    assert "−12.5 pp [−20.0 to 0.0] p = 1, Holm 0.11" in text
    assert "A: outer − crack 4 and 5 particles descriptive only +2.0 nm [0.0 to 4.5]" in text


def test_groups_that_are_older_than_results_say_so(tmp_path: Path) -> None:
    place = tmp_path / "a b" / "x#1"
    place.mkdir(parents=True)
    (place / "summary.json").touch()
    assert "newer than the groups" not in page_with(cohort(), tmp_path).text
    late = (tmp_path / "cohort.json").stat().st_mtime_ns + 10**9
    os.utime(place / "summary.json", ns=(late, late))
    assert "1 micrograph is newer than the groups" in _Page(cohort_html([ROW], tmp_path)).text


def test_few_particles_are_descriptive_only(tmp_path: Path) -> None:
    assert "descriptive only" in page_with(cohort(descriptive_only=True), tmp_path).text


@pytest.mark.parametrize("content", ["{", json.dumps({"schema": "atomseg.cohort/9"}), "[]"])
def test_statistics_that_can_not_be_read_are_said(tmp_path: Path, content: str) -> None:
    text = page_with(content, tmp_path).text
    assert "say atomseg report again" in text
    assert "812" in text  # the micrographs are told all the same


def test_curves_without_censoring_are_the_empirical_share() -> None:
    value = np.random.default_rng(3).gamma(9.0, 0.8, 40)
    curve = survival_curve(value, np.ones(40, int))
    for depth, beyond in zip(curve["depth"], curve["beyond"], strict=True):
        # Rounded depths: the share is that on either side of the step.
        assert beyond == pytest.approx(np.mean(value > depth), abs=1.0 / 40 + 1e-4)
    assert curve["beyond"][-1] == 0.0


def test_a_censored_curve_ends_above_zero_at_the_last_depth_seen() -> None:
    # Freireich's remission times of 6-MP, Kaplan-Meier as printed in the textbooks: 0.857, 0.807, 0.753, 0.690 ...
    value = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], float)
    event = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
    curve = survival_curve(value, event)
    told = dict(zip(curve["depth"], curve["beyond"], strict=True))
    assert [round(told[t], 3) for t in (6, 7, 10, 13, 16, 22, 23)] == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert (curve["depth"][-1], round(curve["beyond"][-1], 3)) == (35.0, 0.448)


def test_long_curves_keep_their_values() -> None:
    value = np.random.default_rng(4).gamma(9.0, 0.8, 900)
    curve = survival_curve(value, np.ones(900, int))
    assert len(curve["depth"]) <= 60
    for depth, beyond in zip(curve["depth"], curve["beyond"], strict=True):
        assert beyond == pytest.approx(np.mean(value > depth), abs=3e-3)  # depth is rounded to 1 pm: a point or two


def test_the_page_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a b" / "x#1").mkdir(parents=True)
    (tmp_path / "a b" / "x#1" / "thumbnail.jpg").write_bytes(b"\xff\xd8picture")
    (tmp_path / "a b" / "x#1" / "thickness.csv").write_text("thickness_nm,event\n3.0,1\n4.0,0\n", encoding="utf-8")
    page = cohort_html([ROW], tmp_path)
    assert "data:image/jpeg;base64,/9hwaWN0dXJl" in page
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"(?!data:)", page)
