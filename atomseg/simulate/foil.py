"""Thickness of the specimen along the beam, everywhere in the image."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.sampling import log_uniform, uniform
from atomseg.simulate.specimen import View
from atomseg.simulate.specimen_config import FoilConfig
from atomseg.simulate.surface import Outline


@dataclass(frozen=True)
class Foil:
    """Specimen thickness.

    Parameters
    ----------
    thickness_nm : float
        In the middle of the image, far from edges.
    gradient_yx : tuple of float
        Relative change per nm, (y, x).
    edge_nm, edge_length_nm : float
        Thickness at a surface and the depth on which it grows.
    variation : float
        Relative scatter of column signals.
    """

    thickness_nm: float
    gradient_yx: tuple[float, float]
    edge_nm: float
    edge_length_nm: float
    variation: float

    def at(self, yx_nm: np.ndarray, outline: Outline) -> np.ndarray:
        """(N,) thickness at points, nm."""
        y, x = yx_nm[:, 0], yx_nm[:, 1]
        local = self.thickness_nm * np.maximum(1.0 + self.gradient_yx[0] * y + self.gradient_yx[1] * x, 0.15)
        if outline.faces:
            depth = np.maximum(outline.depths(y, x).max(axis=0), 0.0)
            local -= np.maximum(local - self.edge_nm, 0.0) * np.exp(-depth / self.edge_length_nm)
        return np.asarray(local)


def draw_foil(config: FoilConfig, view: View, rng: np.random.Generator) -> Foil:
    """Random foil."""
    thickness = log_uniform(rng, config.thickness_nm)
    direction = rng.uniform(0, 2 * np.pi)
    slope = uniform(rng, config.wedge) / (0.5 * float(np.hypot(*view.size_nm)))
    return Foil(
        thickness_nm=thickness,
        gradient_yx=(slope * float(np.sin(direction)), slope * float(np.cos(direction))),
        edge_nm=min(uniform(rng, config.edge_thickness_nm), thickness),
        edge_length_nm=uniform(rng, config.edge_length_nm),
        variation=uniform(rng, config.variation),
    )
