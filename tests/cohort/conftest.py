"""Cohorts of tables with a known truth, and result folders made by hand."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from atomseg.cohort import Assignment, Observations
from atomseg.cohort.gather import IMAGE_FIELDS, POINT_FIELDS

DETECTION_NM = 0.5


@dataclass(frozen=True)
class Population:
    """Lognormal thickness: particles scatter about the group's median, points about the particle's.

    The median of the whole is the group's, whatever the two spreads.
    """

    median_nm: float
    between: float = 0.3
    within: float = 0.3
    particles: int = 6
    images: int = 2
    points: int = 60
    stretch: int = 6
    view_nm: tuple[float, float] = (100.0, 100.0)
    group: str = "A"
    kind: str = "outer"


@pytest.fixture(scope="session")
def population() -> type[Population]:
    return Population


@pytest.fixture(scope="session")
def draw() -> Callable[..., Observations]:
    """Observations of populations: points in stretches of equal thickness, each image with a view of its own."""

    def make(rng: np.random.Generator, *populations: Population) -> Observations:
        points: list[pd.DataFrame] = []
        images: list[dict[str, object]] = []
        for p in populations:
            for k in range(p.particles):
                centre = np.log(p.median_nm) + p.between * rng.normal()
                for j in range(p.images):
                    scatter = np.repeat(rng.normal(size=p.points // p.stretch), p.stretch)
                    true, view = np.exp(centre + p.within * scatter), rng.uniform(*p.view_nm)
                    image = f"{p.group}/{p.kind}/{k}/{j}"
                    points.append(point_table(p.group, f"p{k}", image, p.kind, true, view))
                    images.append(image_row(p.group, f"p{k}", image, p.kind, rng))
        return Observations(pd.concat(points, ignore_index=True), pd.DataFrame(images), Assignment({}, ("sample",)))

    return make


def point_table(group: str, particle: str, image: str, kind: str, true_nm: np.ndarray, view_nm: float) -> pd.DataFrame:
    """Points of one image whose view ends at a depth: what lies deeper is a lower bound."""
    seen = np.where(true_nm < DETECTION_NM, 0.0, true_nm)
    event = seen <= view_nm
    values = {
        "group": group, "sample": group, "particle": particle, "image": image, "surface": f"{image}#0",
        "surface_kind": kind, "thickness_nm": np.minimum(seen, view_nm), "event": event, "available_nm": view_nm,
        "detection_nm": DETECTION_NM, "facet_deg": 80.0, "reason": np.where(event, "", "field_of_view"),
    }  # fmt: skip
    return pd.DataFrame(values, columns=list(POINT_FIELDS))


def image_row(group: str, particle: str, image: str, kind: str, rng: np.random.Generator) -> dict[str, object]:
    rocksalt = float(rng.uniform(0.2, 0.4))
    values = (group, group, particle, image, kind, 1.0 - rocksalt, rocksalt, 0.0, 0.0, float(rng.uniform(0, 9)), 300.0)
    return dict(zip(IMAGE_FIELDS, values, strict=True))


@pytest.fixture
def write_result() -> Callable[..., Path]:
    """A small result folder as `atomseg map` writes it, with the tables that a cohort reads."""

    def write(
        folder: Path,
        thickness_nm: Sequence[float],
        *,
        event: Sequence[int] | None = None,
        surface_id: Sequence[int] | None = None,
        surface_kind: Sequence[str] | None = None,
        view_nm: float = 15.0,
        source: str | None = None,
        sha256: str | None = None,
        fault_nm: Sequence[float] = (),
        rocksalt: float = 0.25,
        stopped: bool = False,
    ) -> Path:
        folder.mkdir(parents=True)
        n = len(thickness_nm)
        seen = np.ones(n, int) if event is None else np.asarray(event)
        table = pd.DataFrame(
            {
                "surface_id": np.zeros(n, int) if surface_id is None else surface_id,
                "thickness_nm": thickness_nm,
                "upper_nm": np.where(seen == 1, np.maximum(thickness_nm, DETECTION_NM), np.nan),
                "facet_deg": 85.0,
                "available_nm": view_nm,
                "event": seen,
                "reason": np.where(seen == 1, "", "field_of_view"),
            }
        )
        if surface_kind is not None:
            table["surface_kind"] = surface_kind
        table.to_csv(folder / "thickness.csv", index=False)
        pd.DataFrame({"fault_id": range(len(fault_nm)), "length_nm": list(fault_nm)}).to_csv(
            folder / "faults.csv", index=False
        )
        # Half of 40 x 50 pixels of 0.1 nm is crystal: 10 nm².
        phases = np.zeros((40, 50), np.uint8)
        phases[:20] = 1
        tifffile.imwrite(folder / "phases.tif", phases)
        check = {"name": "lattice", "value": 1.0, "verdict": "stop" if stopped else "ok", "message": ""}
        summary = {
            "schema": "atomseg.summary/1",
            "input": {"path": source or f"/data/{folder.name}.tif", "name": folder.name,
                      "sha256": sha256 or hashlib.sha256(str(folder).encode()).hexdigest(), "shape": [40, 50]},
            "calibration": {"pixel_size_nm": [0.1, 0.1], "origin": "metadata"},
            "checks": [check],
            "phase_fractions": {"layered": 1 - rocksalt, "rocksalt": rocksalt, "o1": 0.0, "unresolved": 0.0},
            "provenance": {"config": {"measure": {"detection_limit_nm": DETECTION_NM}}},
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        return folder

    return write
