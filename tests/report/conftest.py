"""Results made of a simulated scene's truth: complete, and known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from atomseg.simulate import SceneConfig, simulate
from atomseg.simulate.imaging_config import ScanConfig
from atomseg.simulate.specimen_config import LayerConfig, SurfaceConfig
from atomseg.types import AnalysisRecord, Provenance, ReconstructionProfile, Scene
from atomseg.types.reconstruction import PROFILE_FIELDS


def record_of(scene: Scene, **changes: object) -> AnalysisRecord:
    record = AnalysisRecord(
        micrograph=scene.micrograph,
        localized=scene.columns,
        phases=scene.phases,
        thickness=scene.reconstruction,
        restored=scene.micrograph.image,
        checks=(),
        warnings=(),
        provenance=Provenance(version="0.1.0", commit=None, model_id="unet24.v2", model_sha256="0" * 64, config={}),
    )
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def surface_scene() -> Scene:
    """A cathode with one surface and a layer of about 3 nm, most of it in view."""
    config = SceneConfig(
        shape=(320, 400),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        surface=SurfaceConfig(p_none=0.0, p_edge=1.0, p_crack=0.0),
        layer=LayerConfig(p_layer=1.0, thickness_nm=(2.5, 3.5), p_patchy=0.0),
        scan=ScanConfig(pixel_size_nm=(0.025, 0.025), anisotropy=(0.0, 0.0)),
    )
    scenes = (simulate(config, np.random.default_rng(seed), truth="full") for seed in range(20))
    seen = (scene for scene in scenes if scene.reconstruction.summary and not scene.reconstruction.summary.censored)
    return next(scene for scene in seen if scene.phases.fractions()["rocksalt"] > 0.2)


@pytest.fixture(scope="session")
def truth(surface_scene: Scene) -> AnalysisRecord:
    """`record` for fixtures that outlive a test."""
    return record_of(surface_scene)


@pytest.fixture
def record(surface_scene: Scene) -> AnalysisRecord:
    return record_of(surface_scene)


@pytest.fixture
def two_faces(record: AnalysisRecord) -> AnalysisRecord:
    """A thick face with lower bounds and a thin one, which pooled are intermediate."""
    points, pooled = record.thickness.points, record.thickness.summary
    assert pooled is not None
    far = points["s_nm"] > points["s_nm"].median()
    bound = points.assign(event=np.where(far, 0, 1), reason=np.where(far, "unresolved_crystal", ""))
    other = points.assign(surface_id=1, y_px=points["y_px"] - 60.0, normal_deg=points["normal_deg"] + 180.0)
    thin = dataclasses.replace(pooled, mean_nm=3.1, thickness_class="thin", class_probability={"thin": 0.99})
    thick = dataclasses.replace(pooled, mean_nm=21.7, thickness_class="thick", class_probability={"thick": 0.98})
    both = dataclasses.replace(pooled, mean_nm=12.4, thickness_class="intermediate", censored_fraction=0.25)
    profile = dataclasses.replace(
        record.thickness,
        points=pd.concat([bound.assign(surface_id=0), other], ignore_index=True),
        summary=both,
        surfaces={0: thin, 1: thick},
    )
    return dataclasses.replace(record, thickness=profile)


@pytest.fixture
def without_surface(surface_scene: Scene) -> AnalysisRecord:
    """No surface in view: no points, no summary, no depth."""
    empty = ReconstructionProfile(
        points=pd.DataFrame({name: pd.Series(dtype=float) for name in PROFILE_FIELDS}),
        faults=surface_scene.reconstruction.faults.iloc[:0],
        depth_nm=np.full(surface_scene.micrograph.shape, np.nan, np.float32),
    )
    return record_of(surface_scene, thickness=empty)


@pytest.fixture
def without_columns(without_surface: AnalysisRecord) -> AnalysisRecord:
    """Nothing was found: vacuum."""
    shape = without_surface.micrograph.shape
    phases = dataclasses.replace(
        without_surface.phases,
        labels=np.zeros(shape, np.uint8),
        confidence=np.ones(shape, np.float32),
        occupancy=np.full(shape, np.nan, np.float32),
        columns=without_surface.phases.columns.iloc[:0],
    )
    none = dataclasses.replace(without_surface.localized, table=without_surface.localized.table.iloc[:0])
    return dataclasses.replace(without_surface, phases=phases, localized=none)


@pytest.fixture
def enlarged(record: AnalysisRecord) -> Callable[[int], AnalysisRecord]:
    """The same result on `n` times as many pixels a side, as a large field of view has."""

    def make(n: int) -> AnalysisRecord:
        def tile(array: np.ndarray) -> np.ndarray:
            return np.tile(array, (n, n))

        return dataclasses.replace(
            record,
            micrograph=dataclasses.replace(record.micrograph, image=tile(record.micrograph.image), invalid=None),
            restored=tile(record.restored),
            phases=dataclasses.replace(
                record.phases,
                labels=tile(record.phases.labels),
                confidence=tile(record.phases.confidence),
                occupancy=tile(record.phases.occupancy),
            ),
            thickness=dataclasses.replace(record.thickness, depth_nm=tile(record.thickness.depth_nm)),
        )

    return make
