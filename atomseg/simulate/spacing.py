"""Spacings of their own: O1 gaps and rocksalt that do not keep those of the layered crystal around them."""

import numpy as np
from scipy.special import ndtr

from atomseg.simulate.faults import Fault, subtended
from atomseg.simulate.layer import Layer
from atomseg.simulate.specimen import RowFrame
from atomseg.simulate.surface import Outline, profile_at

# Rocksalt down [1-10]: period of the rows a sqrt(3/8), spacing of the (111) rows a / sqrt(3).
ROCKSALT_PERIOD, ROCKSALT_ROW = float(np.sqrt(3.0 / 8.0)), float(1.0 / np.sqrt(3.0))


def opened(faults: tuple[Fault, ...], u_nm: np.ndarray, row: np.ndarray, row_nm: float) -> np.ndarray:
    """Displacement across the rows by gaps that are wider or narrower than those of the layered crystal.

    As `faults.slip_displacement`, with a Burgers vector across the rows: the jump across the gap is exactly its extra
    width, and the field vanishes far from its ends. Interlayer sites of the gap stay in its middle.

    Parameters
    ----------
    faults : tuple of Fault
        The faults.
    u_nm : numpy.ndarray
        (N,) position along the rows of the perfect crystal, nm.
    row : numpy.ndarray
        (N,) int cation row.
    row_nm : float
        Spacing of cation rows, nm.

    Returns
    -------
    numpy.ndarray
        (N,) nm.
    """
    moved = np.zeros(len(u_nm))
    for fault in faults:
        if fault.extra_nm == 0.0:
            continue
        other = row != fault.row
        angle = subtended(u_nm[other], (row[other] - fault.row) * row_nm, fault.u_nm)
        moved[other] += fault.extra_nm * angle / (2 * np.pi)
    return moved


def expanded(
    outline: Outline, layers: tuple[Layer, ...], frame: RowFrame, period_nm: float, yx_nm: np.ndarray
) -> np.ndarray:
    """Displacement by rocksalt layers with a lattice of their own, from the front outwards.

    A layer is coherent: along its front it keeps the lattice below, across it it has its own (with misfits of 2 to 3 %
    coherent layers strain what they grow on: Xu et al. 2021, 10.1038/s41563-020-0767-8). The front itself stays.

    Parameters
    ----------
    outline, layers : Outline, tuple of Layer
        Faces and the layer below each.
    frame : RowFrame
        Rows of the layered lattice.
    period_nm : float
        Its period along a row, nm.
    yx_nm : numpy.ndarray
        (N, 2) points of the layered crystal.

    Returns
    -------
    numpy.ndarray
        (N, 2) displacement (y, x), nm.
    """
    moved = np.zeros_like(yx_nm)
    if not any(layer.rocksalt_a_nm for layer in layers):
        return moved
    y, x = yx_nm.T
    depths = outline.depths(y, x)
    nearest = np.argmax(depths, axis=0)  # beyond a crack a face's depth says nothing
    for number, (face, layer) in enumerate(zip(outline.faces, layers, strict=True)):
        strain = normal_strain(layer, face.normal_yx, frame, period_nm)
        if strain == 0.0:
            continue
        # What the strain adds up to where the layer sets in as an error function.
        width = max(layer.width_nm, 1e-3)
        z = (profile_at(layer.thickness_nm, face.along(y, x)) - depths[number]) / width
        reach = width * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
        moved -= np.where(nearest == number, strain * reach, 0.0)[:, None] * np.asarray(face.normal_yx)
    return moved


def normal_strain(layer: Layer, normal_yx: tuple[float, float], frame: RowFrame, period_nm: float) -> float:
    """Strain across a front at which rocksalt has its own spacing there; 0 where it keeps the parent's lattice."""
    if not layer.exists or layer.rocksalt_a_nm == 0.0:
        return 0.0
    along, across = frame.rotation @ np.asarray(normal_yx)
    row = layer.rocksalt_a_nm * ROCKSALT_ROW / frame.row_nm - 1.0
    period = layer.rocksalt_a_nm * ROCKSALT_PERIOD / period_nm - 1.0
    return float(period * along**2 + row * across**2)


def largest_move_nm(
    outline: Outline, layers: tuple[Layer, ...], faults: tuple[Fault, ...], frame: RowFrame, period_nm: float
) -> float:
    """How far columns come from at most, nm: so much more crystal than the view has to be built."""
    rocksalt = sum(
        abs(normal_strain(layer, face.normal_yx, frame, period_nm)) * float(layer.thickness_nm.max())
        for face, layer in zip(outline.faces, layers, strict=True)
    )
    return rocksalt + 0.5 * sum(abs(fault.extra_nm) for fault in faults)
