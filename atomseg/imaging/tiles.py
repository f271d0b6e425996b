"""Cutting a large grid into tiles whose results, put side by side, are those of the whole grid."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """One tile: what to read and which part of the result to keep.

    Parameters
    ----------
    read : tuple of slice
        (rows, cols) of the grid to process, the halo included.
    keep : tuple of slice
        (rows, cols) of the processed piece that are valid.
    write : tuple of slice
        (rows, cols) of the grid where the kept part goes.
    """

    read: tuple[slice, slice]
    keep: tuple[slice, slice]
    write: tuple[slice, slice]


def tiles(shape: tuple[int, int], tile: int, halo: int) -> Iterator[Tile]:
    """Tiles that cover a grid, row by row; halos end at the border of the grid.

    A halo that stops at the border leaves a tile there the same border as the whole grid has, so an operation with
    zero padding gives the same numbers. For a strided network, `tile` and `halo` must be multiples of its stride.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the grid.
    tile : int
        Side of the kept part, pixels.
    halo : int
        Extra pixels read on each side.

    Raises
    ------
    ValueError
        If `tile` is not positive or `halo` is negative.
    """
    if tile < 1 or halo < 0:
        raise ValueError(f"tiles need a positive side and a halo of 0 or more, got tile {tile}, halo {halo}")
    for row in range(0, shape[0], tile):
        read_rows, keep_rows, write_rows = _span(row, tile, halo, shape[0])
        for col in range(0, shape[1], tile):
            read_cols, keep_cols, write_cols = _span(col, tile, halo, shape[1])
            yield Tile(read=(read_rows, read_cols), keep=(keep_rows, keep_cols), write=(write_rows, write_cols))


def _span(start: int, tile: int, halo: int, size: int) -> tuple[slice, slice, slice]:
    """Read, keep and write slices along one axis."""
    stop = min(start + tile, size)
    first, last = max(0, start - halo), min(size, stop + halo)
    return slice(first, last), slice(start - first, stop - first), slice(start, stop)
