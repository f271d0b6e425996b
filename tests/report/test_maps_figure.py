"""The figure of the lattice maps, for results that have everything and for those that have next to nothing."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atomseg.measure import LatticeConfig, measure_lattice
from atomseg.report import figure_bytes, figure_files, maps_figure
from atomseg.types import AnalysisRecord, LatticeMaps


def with_lattice(record: AnalysisRecord, **changes: object) -> AnalysisRecord:
    lattice = measure_lattice(
        record.localized,
        record.phases,
        record.micrograph.calibration,
        record.thickness.depth_nm,
        LatticeConfig(),
    )
    return dataclasses.replace(record, lattice=dataclasses.replace(lattice, **changes))  # type: ignore[arg-type]


def texts(figure: object) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))  # type: ignore[attr-defined]


@pytest.fixture
def full(record: AnalysisRecord) -> AnalysisRecord:
    """Maps drawn by hand: every panel has something."""
    shape = record.micrograph.shape
    ramp = np.linspace(-0.02, 0.02, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    one = {
        "dislocation_id": 0, "y_px": 100.0, "x_px": 120.0, "b_y_nm": -0.473, "b_x_nm": 0.083, "sign": -1,
        "kind": "extra_layer",
    }  # fmt: skip
    profile = pd.DataFrame(
        {
            "surface_id": 0,
            "depth_nm": [0.25, 0.75, 1.25],
            "occupancy": [1.0, 0.6, 0.1],
            "occupancy_err": 0.08,
            "occupancy_p16": [0.9, 0.4, 0.0],
            "occupancy_p84": [1.0, 0.8, 0.2],
        }
    )
    return with_lattice(
        record,
        spacing=0.473 + ramp,
        strain_cc=ramp,
        strain_ip=ramp,
        shear=ramp,
        rotation=100 * ramp,
        dislocations=pd.DataFrame([one]),
        dislocation_summary={"n": 1},
        depth_profile=profile,
        summary={
            "reference": {"n_columns": 99, "source": "deepest_layered", "period_nm": 0.2489, "spacing_nm": 0.4731}
        },
    )


def test_the_figure_says_what_is_in_it(full: AnalysisRecord) -> None:
    figure = maps_figure(full)
    told = texts(figure)
    assert "relative to 99 columns (deepest layered): period 0.2489 nm, layers 0.4731 nm" in told
    assert "1 dislocation, b drawn three times" in told
    assert "not measurable" not in told
    assert len(figure.axes) == 8 + 6  # eight panels, six colour bars
    marks = [line for line in figure.axes[6].lines if line.get_marker() == "x"]
    size = full.micrograph.calibration.pixel_size_nm
    assert np.allclose(marks[0].get_xydata(), [[120 * size[1], 100 * size[0]]])


def test_what_was_not_looked_for_is_no_zero(record: AnalysisRecord) -> None:
    blind = with_lattice(
        record, dislocation_summary={"n": None}, fault_summary={"classified_pairs": 0, "fault_fraction": None}
    )
    none = dataclasses.replace(blind.thickness, faults=blind.thickness.faults.iloc[:0])
    told = texts(maps_figure(dataclasses.replace(blind, thickness=none)))
    assert "not looked for here" in told
    assert "0 faults" not in told
    assert "0 dislocations" not in told
    searched = with_lattice(record, dislocation_summary={"n": 0}, fault_summary={"fault_fraction": 0.0})
    told = texts(maps_figure(dataclasses.replace(searched, thickness=none)))
    assert "0 faults (0.0% of gaps), 0 dislocations" in told
    assert "three times" not in told  # there is no vector to draw


def test_each_surface_has_its_own_curve_with_depth_clear_of_the_legend(full: AnalysisRecord) -> None:
    assert full.lattice is not None
    one = full.lattice.depth_profile
    two = pd.concat([one, one.assign(surface_id=1, occupancy=0.5 * one["occupancy"])], ignore_index=True)
    figure = maps_figure(dataclasses.replace(full, lattice=dataclasses.replace(full.lattice, depth_profile=two)))
    panel = figure.axes[7]
    assert len(panel.containers) == 2
    figure.canvas.draw()
    legend = panel.get_legend()
    assert [text.get_text()[:9] for text in legend.get_texts()] == ["surface 0", "surface 1"]
    # The highest that a fraction can be drawn.
    assert legend.get_window_extent().y0 > panel.transData.transform((0.0, 1.0))[1]


def test_strain_that_looks_like_drift_is_told_below_its_map(full: AnalysisRecord) -> None:
    assert full.lattice is not None
    drifting = dataclasses.replace(full.lattice, summary={**full.lattice.summary, "along_slow_scan": ["shear"]})
    axes = maps_figure(dataclasses.replace(full, lattice=drifting)).axes
    told = ["\n".join(text.get_text() for text in ax.texts) for ax in axes[1:4]]
    assert ["slow scan direction" in text for text in told] == [False, False, True]


def test_strain_scales_are_symmetric_and_the_same(full: AnalysisRecord) -> None:
    figure = maps_figure(full)
    limits = [ax.images[-1].get_clim() for ax in figure.axes[1:4]]
    assert len(set(limits)) == 1
    assert limits[0][0] == -limits[0][1]


def test_unknown_maps_say_so(record: AnalysisRecord) -> None:
    blind = dataclasses.replace(record.phases, frames=())
    told = texts(maps_figure(with_lattice(dataclasses.replace(record, phases=blind))))
    # Spacing, two strains, shear and rotation.
    assert told.count("not measurable here") == 5
    assert "no bulk reference" in told


def test_the_figure_is_one_of_the_files(full: AnalysisRecord) -> None:
    files = figure_files(full)
    assert set(files) == {"overview.png", "overview.pdf", "maps.png"}
    assert Image.open(io.BytesIO(files["maps.png"])).size[0] > 2000
    assert figure_bytes(maps_figure(full), "png") == files["maps.png"]


def test_a_record_without_lattice_is_refused(record: AnalysisRecord) -> None:
    assert record.lattice is None
    assert "maps.png" not in figure_files(record)
    with pytest.raises(ValueError, match="no lattice maps"):
        maps_figure(record)


def test_every_plane_has_a_name() -> None:
    names = {field.name for field in dataclasses.fields(LatticeMaps)}
    assert {"spacing", "strain_cc", "strain_ip", "shear", "rotation", "occupancy_err"} <= names
