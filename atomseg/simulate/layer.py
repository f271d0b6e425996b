"""The reconstruction layer: mean Ni occupancy of interlayer sites as a function of depth below a face."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from atomseg.simulate.sampling import SmoothField, chance, happens, log_uniform, uniform
from atomseg.simulate.specimen import View
from atomseg.simulate.specimen_config import LayerConfig
from atomseg.simulate.surface import Face, Outline, profile_at, rough_profile, stepped_profile

# Layered islands of a patchy layer keep this distance from the front, so that the envelope of the layer can be seen.
PATCH_MARGIN_NM = 0.6
# Mean occupancy that the crystal below a layer stays below: the front is where it crosses one half.
MOST_MIXED = 0.49


@dataclass(frozen=True)
class Layer:
    """Reconstruction layer below one face.

    Parameters
    ----------
    thickness_nm : numpy.ndarray
        (n,) depth of the front along the face, sampled as `Face.height_nm`; zeros where there is no layer.
    occupancy : float
        Ni fraction of interlayer sites in the layer.
    width_nm : float
        Standard deviation of the front.
    mixed_occupancy, mixed_decay_nm : float
        Extra occupancy just below the front and the depth on which it decays; 0 for none.
    rocksalt_a_nm : float
        Cubic lattice constant across the front, nm; 0 keeps the lattice of the layered crystal.
    """

    thickness_nm: np.ndarray
    occupancy: float
    width_nm: float
    mixed_occupancy: float
    mixed_decay_nm: float
    rocksalt_a_nm: float = 0.0

    @property
    def exists(self) -> bool:
        """Whether there is a layer at all."""
        return bool(self.thickness_nm.max() > 0.0)


@dataclass(frozen=True)
class Patches:
    """Layered islands in a patchy layer: where a smooth field in the lattice frame exceeds a threshold."""

    field: SmoothField
    threshold: float


def draw_layers(
    config: LayerConfig, outline: Outline, view: View, row_pair_nm: float, rng: np.random.Generator
) -> tuple[tuple[Layer, ...], Patches | None]:
    """A layer for each face and the islands in them.

    Parameters
    ----------
    config : LayerConfig
        Ranges.
    outline : Outline
        Faces.
    view : View
        Size of the image.
    row_pair_nm : float
        Spacing of TM rows: the height of a step of a stepped front.
    rng : numpy.random.Generator
        Randomness.
    """
    mean = log_uniform(rng, config.thickness_nm)
    layers = []
    for _ in outline.faces:
        layers.append(_draw_layer(config, view, mean, row_pair_nm, rng))
        mean *= log_uniform(rng, config.second_face)
    patches = _draw_patches(config, view, rng) if any(layer.exists for layer in layers) else None
    if happens(rng, config.p_rocksalt_lattice):
        own = uniform(rng, config.rocksalt_a_nm)
        layers = [replace(layer, rocksalt_a_nm=own) for layer in layers]
    return tuple(layers), patches


def _draw_patches(config: LayerConfig, view: View, rng: np.random.Generator) -> Patches | None:
    if not chance(rng, config.p_patchy):
        return None
    size = uniform(rng, config.patch_nm)
    # Islands are longer along the layers than across them: interlayer cations spread along open layers.
    field = SmoothField(rng, view.extent_nm, (0.4 * size, 0.8 * size))
    threshold = float(ndtri(1.0 - uniform(rng, config.patch_fraction)))
    return Patches(field, threshold)


def _draw_layer(config: LayerConfig, view: View, mean: float, row_pair_nm: float, rng: np.random.Generator) -> Layer:
    n = len(rough_profile(rng, view, 0.0, 1.0))
    if not chance(rng, config.p_layer):
        mixed = uniform(rng, config.mixed_occupancy) if chance(rng, config.p_mixed) else 0.0
        return Layer(np.zeros(n), 0.0, 0.1, mixed, log_uniform(rng, config.mixed_decay_nm))
    correlation = uniform(rng, config.correlation_nm)
    if chance(rng, config.p_stepped):
        profile = stepped_profile(rng, view, row_pair_nm, 2 * correlation)
    else:
        profile = rough_profile(rng, view, min(uniform(rng, config.roughness_nm), 0.25 * mean), correlation)
    thickness = np.maximum(mean + profile, 0.1 * mean)
    mixed = uniform(rng, config.mixed_occupancy) if chance(rng, config.p_mixed) else 0.0
    return Layer(
        thickness,
        uniform(rng, config.occupancy),
        min(uniform(rng, config.front_width_nm), 0.5 * mean),
        mixed,
        log_uniform(rng, config.mixed_decay_nm),
    )


def layer_occupancy(
    face: Face, layer: Layer, y: np.ndarray, x: np.ndarray, *, islands: np.ndarray | None, bulk: float
) -> np.ndarray:
    """Mean occupancy of interlayer sites below one face.

    Parameters
    ----------
    face, layer : Face, Layer
        The surface and its layer.
    y, x : numpy.ndarray
        Points, nm from the image centre.
    islands : numpy.ndarray or None
        Bool at each point: True where a patchy layer stayed layered.
    bulk : float
        Occupancy far below.
    """
    depth = face.depth(y, x)
    front = profile_at(layer.thickness_nm, face.along(y, x))
    inside = ndtr((front - depth) / max(layer.width_nm, 1e-3)) if layer.exists else np.zeros_like(depth)
    inside = np.where(depth > 0.0, inside, 0.0)  # what lies before this face belongs to another one
    if islands is not None:
        inside = np.where(islands & (depth < front - PATCH_MARGIN_NM), 0.0, inside)
    below = layer.mixed_occupancy * np.exp(-np.maximum(depth - front, 0.0) / layer.mixed_decay_nm) * (depth > 0.0)
    matrix = np.minimum(bulk + below, MOST_MIXED)
    return np.asarray(matrix + (np.maximum(layer.occupancy, matrix) - matrix) * inside)


def in_layer(outline: Outline, layers: tuple[Layer, ...], y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bool: points between a face and the front of its layer."""
    result = np.zeros(np.shape(y), bool)
    for face, layer in zip(outline.faces, layers, strict=True):
        depth = face.depth(y, x)
        result |= (depth > 0) & (depth < profile_at(layer.thickness_nm, face.along(y, x)))
    return result
