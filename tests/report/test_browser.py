"""Pages in a real browser: they load without errors or requests, switch layers, and show what the tables hold.

Positions and colours are computed here from the result and read off the screen, not taken from the pages' script.
"""

import base64
import dataclasses
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atomseg.analysis import Analysis
from atomseg.batch.table import outcome_row
from atomseg.batch.work import Outcome
from atomseg.io.summary import summarize
from atomseg.report import PHASE_COLORS, cohort_html, figure_files, page_files, share_library
from atomseg.types import AnalysisRecord, Phase

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'atomseg[test]'")

PATIENCE_S = 60.0  # a busy machine; the pages take 1 to 5 s
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1600,1100",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium and chromedriver, e.g. apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chromium
    chromium.quit()


@pytest.fixture(scope="module")
def output(truth: AnalysisRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a batch with two results and a failure."""
    folder = tmp_path_factory.mktemp("batch") / "OUT"
    share_library(folder)
    outcomes = [Outcome("/in/bad.tif", "bad", "failed", "the file ends in the middle")]
    for name, thick in (("session 1/a", 3.0), ("session 1/b", 11.0)):
        points = truth.thickness.points.assign(thickness_nm=thick, event=1)
        record = dataclasses.replace(truth, thickness=dataclasses.replace(truth.thickness, points=points))
        place = folder / name
        place.mkdir(parents=True)
        for file, content in {**figure_files(record), **page_files(record, root="../..")}.items():
            (place / file).write_bytes(content)
        (place / "thickness.csv").write_text(points.to_csv(index=False), encoding="utf-8")
        summary = summarize(record)
        summary["thickness"] |= {"mean_nm": thick, "class": "thin" if thick < 5 else "intermediate"}
        outcomes.append(Outcome(f"/in/{name}.tif", name, "done", "", summary))
    rows = [outcome_row(outcome) for outcome in outcomes]
    (folder / "report.html").write_text(cohort_html(rows, folder), encoding="utf-8")
    return folder


def opened(browser: Any, page: Path) -> list[str]:
    """Open a page, wait until it has drawn, and say what it asked for and complained about."""
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page.as_uri())
    until(lambda: browser.execute_script("return document.body.dataset.state"))
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked, "the log of requests does not work"
    inside = ("data:", "blob:", "chrome:")  # the last are the browser's own
    return [url[:200] for url in asked if not url.startswith(inside) and url != page.as_uri()] + [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ]


def until(true: Callable[[], Any]) -> Any:
    """The first value that is true; an error when it never is."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if value := true():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def stage(browser: Any) -> dict[str, float]:
    return dict(browser.execute_script("return document.getElementById('stage').getBoundingClientRect().toJSON()"))


def on_screen(browser: Any, record: AnalysisRecord, yx_nm: np.ndarray) -> tuple[float, float]:
    """(x, y) in the window of a place in the image, which fills the stage: it has the image's shape."""
    box, (height, width) = stage(browser), record.micrograph.shape
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    x = box["left"] + (yx_nm[1] / size_x + 0.5) / width * box["width"]
    return x, box["top"] + (yx_nm[0] / size_y + 0.5) / height * box["height"]


def point_at(browser: Any, x: float, y: float) -> None:
    # A detour, because a pointer that was there already does not enter.
    for place in ((x + 60, y + 45), (x, y)):
        parameters = {"type": "mouseMoved", "x": place[0], "y": place[1]}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", parameters)
        time.sleep(0.15)


def choose(browser: Any, **values: Any) -> None:
    """Set the controls of the page."""
    for name, value in values.items():
        browser.execute_script(
            "const e = document.getElementById(arguments[0]); if (e.type === 'checkbox') e.checked = arguments[1];"
            "else e.value = arguments[1]; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'));",
            name,
            value,
        )


def pixels(browser: Any) -> np.ndarray:
    """(H, W, 3) of the window."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(browser.get_screenshot_as_base64()))).convert("RGB"))


def text_of(browser: Any, name: str) -> str:
    return " ".join(browser.execute_script("return document.getElementById(arguments[0]).innerText", name).split())


def inner_column(record: AnalysisRecord, phase: Phase) -> int:
    """A column of a phase, well inside the image and far from the surface's own points."""
    yx, (height, width) = record.localized.yx_px, record.micrograph.shape
    inside = (yx > 25).all(axis=1) & (yx[:, 0] < height - 25) & (yx[:, 1] < width - 25)
    surface = record.thickness.points[["y_px", "x_px"]].to_numpy(float)
    far = np.min(np.hypot(*(yx[:, None] - surface[None]).transpose(2, 0, 1)), axis=1) > 25
    return int(np.flatnonzero(inside & far & (record.phases.columns["phase"].to_numpy() == phase))[0])


@pytest.fixture
def page(browser: Any, output: Path) -> Any:
    """The browser with the page of the first result."""
    assert opened(browser, output / "session 1" / "a" / "page.html") == [
        next((output / "assets").iterdir()).as_uri()  # the shared plot library and nothing else
    ]
    return browser


def test_a_lone_page_asks_for_nothing(browser: Any, truth: AnalysisRecord, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(page_files(truth)["page.html"])
    assert opened(browser, tmp_path / "page.html") == []
    assert browser.execute_script("return document.body.dataset.state") == "ready"


def test_the_phase_map_is_where_the_phases_are(page: Any, truth: AnalysisRecord) -> None:
    choose(page, columns=False, surface=False, map="phases", opacity=100)
    time.sleep(0.5)
    box, shown = stage(page), pixels(page)
    rng, size = np.random.default_rng(0), truth.micrograph.calibration.pixel_size_nm
    right = total = 0
    for row, col in zip(rng.integers(8, truth.micrograph.shape[0] - 40, 200), rng.integers(8, 390, 200), strict=True):
        codes = truth.phases.labels[max(0, row - 3) : row + 4, max(0, col - 3) : col + 4]
        if len(np.unique(codes)) > 1 or codes[0, 0] == Phase.NONE:
            continue  # edges are blended
        x, y = on_screen(page, truth, np.array([row, col]) * size)
        if y > shown.shape[0] - 2 or y < box["top"] + 40:
            continue  # below the fold, or under the buttons
        wanted = [int(PHASE_COLORS[Phase(codes[0, 0])][i : i + 2], 16) for i in (1, 3, 5)]
        right += bool(np.abs(shown[round(y), round(x)].astype(int) - wanted).max() <= 3)
        total += 1
    assert total > 60
    assert right == total


@pytest.mark.parametrize("map_key", ["phases", "confidence", "occupancy", "depth"])
def test_every_map_can_be_switched_on_and_off(page: Any, map_key: str) -> None:
    choose(page, columns=False, surface=False, map="")
    time.sleep(0.4)
    before = pixels(page)
    choose(page, map=map_key)
    time.sleep(0.4)
    box = stage(page)
    inside = np.s_[round(box["top"]) + 45 : round(box["bottom"]) - 60, round(box["left"]) : round(box["right"])]
    changed = (np.abs(pixels(page)[inside].astype(int) - before[inside]).max(axis=2) > 10).mean()
    assert changed > 0.1  # the crystal is more than that of this image
    choose(page, map="")
    time.sleep(0.4)
    assert (pixels(page)[inside] == before[inside]).mean() > 0.99


def test_columns_are_drawn_on_their_places(page: Any, truth: AnalysisRecord) -> None:
    choose(page, columns=True, surface=False, map="", base="raw")
    for phase in (Phase.LAYERED, Phase.ROCKSALT):
        i = inner_column(truth, phase)
        x, y = on_screen(page, truth, truth.localized.yx_nm[i])
        wanted = [int(PHASE_COLORS[phase][k : k + 2], 16) for k in (1, 3, 5)]
        time.sleep(0.5)
        spot = pixels(page)[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].reshape(-1, 3).astype(int)
        assert np.abs(spot - wanted).max(axis=1).min() < 30  # dots are 5 % transparent


def test_pointing_at_a_column_reads_it(page: Any, truth: AnalysisRecord) -> None:
    table = Analysis.of(truth).columns
    for phase in (Phase.LAYERED, Phase.ROCKSALT):
        i = inner_column(truth, phase)
        point_at(page, *on_screen(page, truth, truth.localized.yx_nm[i]))
        told = until(lambda: text_of(page, "tip"))
        row = table.iloc[i]
        for value in (row["phase"], f"column {row['id']}", f"{row['x_nm']:.3f}, {row['y_nm']:.3f} nm",
                      f"depth {row['depth_nm']:.2f} nm"):  # fmt: skip
            assert value in told


def test_pointing_at_the_profile_marks_the_place(page: Any, truth: AnalysisRecord) -> None:
    points = truth.thickness.points
    first = points[points["surface_id"] == points["surface_id"].min()].sort_values("s_nm")
    middle = first.iloc[len(first) // 2]
    x, y = page.execute_script(
        "const p = document.getElementById('profile'), f = p._fullLayout, b = p.getBoundingClientRect();"
        "return [b.left + f.xaxis._offset + f.xaxis.d2p(arguments[0]), b.top + f.yaxis._offset + f.yaxis.d2p(3)]",
        float(middle["s_nm"]),
    )
    point_at(page, x, y)
    drawn = until(lambda: page.execute_script(
        "return [...document.querySelectorAll('#over circle')]"
        ".map((c) => [+c.getAttribute('cx'), +c.getAttribute('cy')])"
    ))  # fmt: skip
    box, size = stage(page), np.array(truth.micrograph.calibration.pixel_size_nm)
    wanted = on_screen(page, truth, middle[["y_px", "x_px"]].to_numpy(float) * size)
    # The pointer may find the neighbour: points are 0.3 nm apart.
    nm = box["width"] / (truth.micrograph.shape[1] * size[1])
    assert np.hypot(drawn[0][0] + box["left"] - wanted[0], drawn[0][1] + box["top"] - wanted[1]) < 0.7 * nm


def test_pointing_at_the_surface_marks_the_profile(page: Any, truth: AnalysisRecord) -> None:
    size = np.array(truth.micrograph.calibration.pixel_size_nm)
    point = truth.thickness.points.iloc[len(truth.thickness.points) // 3]
    point_at(page, *on_screen(page, truth, point[["y_px", "x_px"]].to_numpy(float) * size))
    until(lambda: "thickness 3.0 nm" in text_of(page, "tip"))
    shapes = (
        "return document.getElementById('profile').layout.shapes.filter((s) => s.yref === 'paper').map((s) => s.x0)"
    )
    marked = until(lambda: page.execute_script(shapes))
    assert marked == [pytest.approx(point["s_nm"], abs=0.35)]


def test_the_wheel_zooms_and_the_scale_bar_follows(page: Any) -> None:
    box, before = stage(page), text_of_svg(page, "scale")
    middle = {"x": box["left"] + box["width"] / 2, "y": box["top"] + box["height"] / 2}
    for _ in range(12):
        page.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseWheel", "deltaX": 0, "deltaY": -240, **middle})
        time.sleep(0.1)
    until(lambda: text_of_svg(page, "scale") != before)
    range_nm = page.execute_script("return document.getElementById('view')._fullLayout.xaxis.range")
    bar = page.execute_script("return document.querySelector('#over rect').width.baseVal.value")
    value, unit = text_of_svg(page, "scale").split()
    length_nm = float(value) * (1e-3 if unit == "pm" else 1.0)
    assert bar / box["width"] == pytest.approx(length_nm / (range_nm[1] - range_nm[0]), rel=0.01)


def text_of_svg(browser: Any, name: str) -> str:
    return str(browser.execute_script("return document.getElementById(arguments[0])?.textContent ?? ''", name))


def test_without_the_shared_library_the_page_says_so_and_shows_the_figure(
    browser: Any, output: Path, tmp_path: Path
) -> None:
    shutil.copytree(output / "session 1" / "a", tmp_path / "a")  # taken out of its batch
    opened(browser, tmp_path / "a" / "page.html")
    assert browser.execute_script("return document.body.dataset.state") == "failed"
    assert "keep the whole output folder together" in text_of(browser, "why")
    until(lambda: browser.execute_script("return document.getElementById('figure').naturalWidth") > 1000)


def test_the_report_alone_asks_for_nothing(browser: Any, output: Path, tmp_path: Path) -> None:
    shutil.copy(output / "report.html", tmp_path)
    assert opened(browser, tmp_path / "report.html") == []
    widths = "return [...document.querySelectorAll('#micrographs img')].map((i) => i.naturalWidth)"
    assert min(browser.execute_script(widths)) > 50


def test_the_report_sorts_filters_and_leads_to_the_pages(browser: Any, output: Path) -> None:
    assert opened(browser, output / "report.html") == []
    names = "return [...document.querySelectorAll('#micrographs tbody tr:not([hidden]) .name')].map((e) => e.innerText)"
    header = (
        "[...document.querySelectorAll('#micrographs th')].find((e) => e.innerText.startsWith('thickness')).click()"
    )
    orders = []
    for _ in range(2):
        browser.execute_script(header)
        orders.append(browser.execute_script(names))
    assert orders == [["session 1/b", "session 1/a"], ["session 1/a", "session 1/b"]]
    choose(browser, **{"class": "thin"})
    assert browser.execute_script(names) == ["session 1/a"]
    choose(browser, **{"class": "", "search": "1/b"})
    assert browser.execute_script(names) == ["session 1/b"]
    assert "the file ends in the middle" in text_of(browser, "failures")
    browser.execute_script("document.querySelector('#micrographs tbody tr:not([hidden]) .name a').click()")
    until(lambda: browser.current_url.endswith("session%201/b/page.html"))
    until(lambda: browser.execute_script("return document.body.dataset.state") == "ready")


def test_curves_of_the_report_fall_at_the_thickness(browser: Any, output: Path) -> None:
    opened(browser, output / "report.html")
    curves = browser.execute_script("return document.getElementById('curves').data.map((t) => [t.x, t.y])")
    ends = sorted(max(x for x, y in zip(*curve, strict=True) if y > 50) for curve in curves)
    assert ends == [0.0, 0.0] or ends == pytest.approx([3.0, 11.0])
