"""Two domains in one image: each keeps its own axes."""

import numpy as np
import pandas as pd

from atomseg.measure import LatticeConfig, measure_lattice
from atomseg.types import Columns, LatticeFrame, PhaseMap


def test_a_variant_has_its_own_strain_and_its_misorientation(maker):
    """Left the reference, right a domain at 70.5 degrees whose layers are 1 % farther apart."""
    left = maker.build(maker.Crystal(), keep=lambda yx: yx[:, 1] < 4.9)
    stretch = maker.Crystal(rotation_deg=70.5, move=lambda u, v: (0 * u, 0.01 * v))
    right = maker.build(stretch, keep=lambda yx: yx[:, 1] > 5.1)
    n = len(left[0])
    table = pd.concat([left[0].table, right[0].table], ignore_index=True)
    other_rows = right[1].columns.assign(row_id=right[1].columns["row_id"] + 1000)
    rows = pd.concat([left[1].columns, other_rows], ignore_index=True)
    frames: tuple[LatticeFrame, ...] = (left[1].frames[0], right[1].frames[0])
    old = left[1]
    phases = PhaseMap(old.labels, old.confidence, old.occupancy, rows, old.gaps, frames)
    no_depth = np.full(old.labels.shape, np.nan, np.float32)
    maps = measure_lattice(Columns(table), phases, left[2], no_depth, LatticeConfig(reference_px=(0, 0, 500, 240)))
    own, other = maps.columns[:n].dropna(), maps.columns[n:].dropna()
    assert len(own) > 0.9 * n
    assert len(other) > 0.9 * (len(table) - n)
    assert np.abs(own["strain_cc"]).max() < 1e-9
    assert np.allclose(other["strain_cc"], 0.01, atol=1e-9)
    assert np.abs(other["strain_ip"]).max() < 1e-9
    assert np.allclose(other["rotation_deg"], 70.5, atol=1e-7)
    # The boundary is no dislocation: circuits do not cross it.
    assert len(maps.dislocations) == 0
