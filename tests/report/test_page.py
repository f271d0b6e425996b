"""The page of one micrograph: what is in it, whatever the result; how it behaves is tested in a browser."""

import base64
import dataclasses
import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atomseg.analysis import Analysis
from atomseg.classify.config import ClassifyConfig
from atomseg.config import MapConfig, config_dict
from atomseg.measure import LatticeConfig, measure_lattice
from atomseg.report import PHASE_COLORS, page_files, page_html, share_library
from atomseg.report.layers import LAYERS, block_centres, page_layers, shrink
from atomseg.report.methods import changed_settings, methods_paragraph, references
from atomseg.report.page import page_data
from atomseg.report.plot_library import library_name, library_packed
from atomseg.types import AnalysisRecord, Check, Phase, Verdict

LARGEST_PAGE = 15e6  # bytes, for 4096 x 4096 pixels and 25 000 columns


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def layer(record: AnalysisRecord, key: str, **maps: np.ndarray) -> dict:
    return next(entry for entry in page_layers(record, maps) if entry["key"] == key)


def test_every_layer_that_is_there_is_offered(record: AnalysisRecord) -> None:
    keys = [entry["key"] for entry in page_layers(record, {})]
    assert keys == ["raw", "restored", "phases", "confidence", "occupancy", "depth"]


def test_further_maps_appear_under_their_name(record: AnalysisRecord) -> None:
    shape = record.micrograph.shape
    strain = np.linspace(-0.01, 0.03, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    told = layer(record, "strain_xx", strain_xx=strain, my_map=strain)
    assert told["high"] == -told["low"] == pytest.approx(0.0296, abs=2e-4)  # 99th percentile, the same on both sides
    assert layer(record, "my_map", my_map=strain)["label"] == "my map"


def test_lattice_maps_and_dislocations_are_offered(record: AnalysisRecord) -> None:
    lattice = measure_lattice(
        record.localized, record.phases, record.micrograph.calibration, record.thickness.depth_nm, LatticeConfig()
    )
    shape = record.micrograph.shape
    ramp = np.linspace(-0.02, 0.02, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    seen = pd.DataFrame([{"dislocation_id": 4, "y_px": 100.0, "x_px": 120.0, "b_nm": 0.4802, "b_angle_deg": -80.04,
                          "kind": "extra_layer"}])  # fmt: skip
    table = lattice.columns.assign(spacing_nm=np.linspace(0.46, 0.48, len(lattice.columns)))
    drawn = dataclasses.replace(lattice, strain_cc=ramp, strain_ip=ramp, shear=ramp, rotation=ramp,
                                spacing=0.473 + ramp, dislocations=seen, columns=table)  # fmt: skip
    known = dataclasses.replace(record, lattice=drawn)
    assert {"spacing", "strain_cc", "strain_ip", "shear", "rotation"} <= {
        told["key"] for told in page_layers(known, {})
    }
    strain = layer(known, "strain_cc")
    assert (strain["unit"], strain["high"]) == ("%", pytest.approx(1.96, abs=0.01))  # 99th percentile of 2 %
    data = page_data(known)
    # 25 pm pixels; the first pixel's centre is 0.
    assert data["dislocations"] == [{"id": 4, "x": 3.0, "y": 2.5, "kind": "extra layer", "b": 0.4802, "angle": -80.0}]
    spacing = np.frombuffer(base64.b64decode(data["columns"]["fields"]["spacing"]), "<f4")
    np.testing.assert_allclose(spacing, table["spacing_nm"], rtol=1e-6)
    assert 'id="dislocations"' in page_html(known)
    assert 'id="dislocations"' not in page_html(record)
    assert "lattice.csv" not in page_html(record)


def test_maps_without_a_value_are_left_out(without_surface: AnalysisRecord) -> None:
    assert "depth" not in [entry["key"] for entry in page_layers(without_surface, {})]


def test_phase_layer_has_the_colours_of_the_legend(record: AnalysisRecord) -> None:
    shown = np.asarray(picture(layer(record, "phases")["uri"]).convert("RGBA"))
    labels = record.phases.labels
    for phase in Phase:
        there = labels == phase
        if phase is Phase.NONE:
            assert (shown[there, 3] == 0).all()
        elif there.any():
            assert ["#" + bytes(color[:3]).hex().upper() for color in np.unique(shown[there], axis=0)] == [
                PHASE_COLORS[phase]
            ]


def test_unknown_values_are_transparent_and_known_ones_follow_the_colour_bar(record: AnalysisRecord) -> None:
    shape = record.micrograph.shape
    values = np.full(shape, np.nan, np.float32)
    values[:, : shape[1] // 2] = np.linspace(0.0, 1.0, shape[0])[:, None]
    record = dataclasses.replace(record, phases=dataclasses.replace(record.phases, occupancy=values))
    told = layer(record, "occupancy")
    shown = np.asarray(picture(told["uri"]).convert("RGBA")).astype(int)
    assert (shown[:, shape[1] // 2 :, 3] == 0).all()
    assert (shown[:, : shape[1] // 2, 3] == 255).all()
    ends = [[int(told["colors"][i][j : j + 2], 16) for j in (1, 3, 5)] for i in (0, -1)]
    # A 255th of the colours a step, and the stops are rounded to bytes.
    assert np.abs(shown[[0, -1], 0, :3] - ends).max() <= 3


def test_pictures_lie_where_their_pixels_are(record: AnalysisRecord) -> None:
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    height, width = record.micrograph.shape
    left, top, wide, high = layer(record, "raw")["box"]
    assert (left, top) == (-0.5 * size_x, -0.5 * size_y)
    assert (wide, high) == pytest.approx((width * size_x, height * size_y))


def test_a_shrunk_picture_covers_whole_blocks() -> None:
    image = np.arange(35, dtype=np.float32).reshape(5, 7)
    means = shrink(image, 2)
    assert means.shape == (3, 4)
    assert means[0, 0] == image[:2, :2].mean()
    assert means[-1, -1] == image[-1, -1]  # the corner repeats its last pixel
    assert block_centres(image, 3).tolist() == [
        [image[1, 1], image[1, 4], image[1, 6]],
        [image[4, 1], image[4, 4], image[4, 6]],
    ]


def test_the_page_holds_every_column_with_its_values(record: AnalysisRecord) -> None:
    columns = page_data(record)["columns"]
    table = Analysis.of(record).columns
    fields = {name: np.frombuffer(base64.b64decode(text), "u1" if name in {"phase", "flags"} else "<f4")
              for name, text in columns["fields"].items()}  # fmt: skip
    assert columns["n"] == len(table)
    for name, column in {"x": "x_nm", "y": "y_nm", "sigma_x": "sigma_x_pm", "p_o1": "p_o1", "depth": "depth_nm",
                         "occupancy": "interlayer_occupancy", "id": "id"}.items():  # fmt: skip
        np.testing.assert_allclose(fields[name], table[column], rtol=1e-6)  # float32
    assert [Phase(code).label for code in fields["phase"]] == table["phase"].tolist()


def test_the_surface_points_inwards(record: AnalysisRecord) -> None:
    """One layer thickness below the surface, along the page's own direction, there is crystal."""
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    inside = 0
    surfaces = page_data(record)["surfaces"]
    for surface in surfaces:
        for x, y, dx, dy in zip(surface["x"], surface["y"], surface["dx"], surface["dy"], strict=True):
            row, col = round((y + dy) / size_y), round((x + dx) / size_x)
            row, col = np.clip([row, col], 0, np.array(record.micrograph.shape) - 1)
            inside += record.phases.labels[row, col] != Phase.NONE
    assert inside > 0.95 * sum(len(surface["x"]) for surface in surfaces)


@pytest.mark.parametrize("kind", ["record", "without_surface", "without_columns"])
def test_pages_of_all_kinds_of_results(kind: str, request: pytest.FixtureRequest) -> None:
    record = request.getfixturevalue(kind)
    page = page_html(record)
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert data["columns"]["n"] == len(record.localized)
    assert ('id="profile"' in page) == bool(len(record.thickness.points))
    assert "NaN" not in page[: page.index('id="data"')]


def test_a_large_page_stays_small(record: AnalysisRecord) -> None:
    rng, n, side = np.random.default_rng(0), 25_000, 4096
    located = pd.concat([record.localized.table] * (n // len(record.localized) + 1), ignore_index=True)[:n]
    judged = pd.concat([record.phases.columns] * (n // len(record.localized) + 1), ignore_index=True)[:n]
    # Places are what matters for the length of numbers, and pure noise is what a JPEG is largest for.
    located = located.assign(x_px=rng.uniform(0, side, n), y_px=rng.uniform(0, side, n),
                             x_nm=rng.uniform(0, 82, n), y_nm=rng.uniform(0, 82, n))  # fmt: skip
    noise = rng.poisson(20.0, (side, side)).astype(np.float32)
    smooth = rng.random((side, side), dtype=np.float32)
    large = dataclasses.replace(
        record,
        micrograph=dataclasses.replace(record.micrograph, image=noise, invalid=None),
        localized=dataclasses.replace(record.localized, table=located),
        restored=noise,
        phases=dataclasses.replace(record.phases, columns=judged, occupancy=smooth, confidence=smooth,
                                   labels=rng.integers(0, 5, (side, side), dtype=np.uint8)),
        thickness=dataclasses.replace(record.thickness, depth_nm=smooth),
    )  # fmt: skip
    assert len(page_html(large)) < LARGEST_PAGE


def test_the_library_is_packed_or_shared(record: AnalysisRecord, tmp_path: Path) -> None:
    alone, linked = page_html(record), page_html(record, root="../..")
    assert library_packed() in alone
    assert library_packed() not in linked
    assert f'"../../assets/{library_name()}"' in linked
    assert 'href="../../report.html"' in linked
    shared = share_library(tmp_path)
    assert shared == tmp_path / "assets" / library_name()
    assert gzip.decompress(base64.b64decode(library_packed())) == shared.read_bytes()
    before = shared.stat().st_mtime_ns
    share_library(tmp_path)
    assert shared.stat().st_mtime_ns == before
    shared.write_bytes(b"cut off")  # a full disk, say
    assert share_library(tmp_path).stat().st_size > 1e6


def test_warnings_and_checks_are_told(record: AnalysisRecord) -> None:
    checks = (Check("lattice", 0.3, Verdict.STOP, "not a layered oxide"), Check("scale", 0.25, Verdict.OK))
    page = page_html(dataclasses.replace(record, checks=checks, warnings=("read this <first>",)))
    assert "read this &lt;first&gt;" in page
    assert "not a layered oxide" in page
    assert page.index("✕ stop") < page.index("✓ ok")


def test_methods_name_program_model_input_and_results(record: AnalysisRecord) -> None:
    text = methods_paragraph(record)
    summary = record.thickness.summary
    assert summary is not None
    for told in ("atomseg 0.1.0", "unet24.v2", "400 × 320 pixels of 25.00 pm",
                 f"{len(record.localized)} atomic columns",
                 f"mean thickness is {summary.mean_nm:.1f} nm", f"of {summary.n_points} points"):  # fmt: skip
        assert told in text
    numbers = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")}
    assert numbers == set(range(1, len(references(record)) + 1))
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", doi) for _, doi in references(record))


def test_methods_without_a_surface_cite_no_survival_statistics(without_surface: AnalysisRecord) -> None:
    assert "Kaplan" not in methods_paragraph(without_surface)
    assert not any("Kaplan" in text for text, _ in references(without_surface))


def test_methods_name_settings_that_were_changed() -> None:
    default = {"classify": {"occupancy_threshold": ClassifyConfig().occupancy_threshold}, "measure": {}}
    assert changed_settings(default) == []
    assert changed_settings({**default, "measure": {"point_spacing_nm": 0.7}}) == ["measure.point_spacing_nm = 0.7"]
    assert changed_settings({}) is None


@pytest.mark.parametrize("section", [field.name for field in dataclasses.fields(MapConfig)])
def test_methods_know_the_settings_of_every_stage(section: str) -> None:
    key, value = next(iter(config_dict(MapConfig())[section].items()))
    assert changed_settings({section: {key: value}}) == []
    assert changed_settings({section: {key: -1}}) == [f"{section}.{key} = -1"]


def test_files_are_the_same_each_time(record: AnalysisRecord) -> None:
    assert page_files(record) == page_files(record)
    with Image.open(io.BytesIO(page_files(record)["thumbnail.jpg"])) as small:
        assert max(small.size) <= 220


def test_layer_names_are_unique() -> None:
    assert len({entry.key for entry in LAYERS}) == len(LAYERS)
