"""Micrograph to prediction: resample, normalize, run the network tile by tile."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomseg.errors import ConfigError, InputError
from atomseg.imaging import Canonical, Tile, tiles, to_canonical
from atomseg.networks import Model, UNet, map_sigma
from atomseg.types import Micrograph, Prediction, StageConfig

# The canonical grid is what memory grows with: 24 bytes a pixel of results.
_MAX_CANONICAL_PX = 400_000_000
# On tiles of fewer pixels torch may share out single sums among its threads (seen below 13 000 pixels, Intel Xeon): the
# last digits would depend on how many there are.
_ONE_THREAD_PX = 32_768
# Probabilities of crystal between which images of columns alone rise from nothing to what the network answers: nine
# tenths of films, and all but single pixels of vacuum, are below, and 99 of 100 fitted columns of simulated, multislice
# and real micrographs (noisy ones) above.
_CRYSTAL_FROM, _CRYSTAL_SURE = 0.5, 0.9


@dataclass(frozen=True, kw_only=True)
class InferConfig(StageConfig):
    """Settings of `infer`.

    Parameters
    ----------
    tile_px : int
        Side of a tile in canonical pixels, without its halo; memory grows with its square, the result does not change.
    """

    tile_px: int = 1024

    def __post_init__(self) -> None:
        if not 64 <= self.tile_px <= 8192:
            raise ConfigError(f"infer.tile_px is {self.tile_px}; allowed 64 to 8192")


@dataclass(frozen=True)
class _Maps:
    """Network answers for the whole canonical grid, float32."""

    heatmap: np.ndarray
    offset: np.ndarray
    offset_sigma: np.ndarray
    restored: np.ndarray
    crystal: np.ndarray
    denoised: np.ndarray | None
    columns: np.ndarray | None


def infer(micrograph: Micrograph, model: Model, config: InferConfig | None = None) -> Prediction:
    """What the network sees in a micrograph.

    Parameters
    ----------
    micrograph : Micrograph
        Any size and intensity unit.
    model : Model
        From `atomseg.networks.load_model`; its device is used.
    config : InferConfig, optional
        Tiling.

    Returns
    -------
    Prediction
        On the canonical grid; `restored` in the micrograph's unit.

    Raises
    ------
    InputError
        If the image on the canonical grid would be too large for this method.
    """
    config = config or InferConfig()
    card = model.card
    _check_size(micrograph, card.pixel_size_nm)
    view = to_canonical(micrograph.image, micrograph.calibration.pixel_size_nm, card.pixel_size_nm, card.normalization)
    maps = _run(view, model, config)
    # A grain of a film is as bright as a column and looks like one: it is the crystal around it that tells.
    of_columns = np.clip((maps.crystal - _CRYSTAL_FROM) / (_CRYSTAL_SURE - _CRYSTAL_FROM), 0, 1) * view.normalized.scale
    return Prediction(
        heatmap=maps.heatmap,
        offset_px=maps.offset,
        offset_sigma_px=map_sigma(maps.offset_sigma, card.offset_sigma_map),
        restored=np.maximum(maps.restored, 0.0) * of_columns,
        crystal=maps.crystal,
        denoised=None if maps.denoised is None else maps.denoised * view.normalized.scale + view.normalized.mean,
        columns=None if maps.columns is None else np.maximum(maps.columns, 0.0) * of_columns,
        pixel_size_nm=card.pixel_size_nm,
        scale=view.scale,
        input_shape=micrograph.shape,
        model_id=card.id,
        model_sha256=model.sha256,
        heatmap_threshold=card.heatmap_threshold,
    )


def _check_size(micrograph: Micrograph, canonical_nm: float) -> None:
    """Refuse what would need more memory than a result is worth."""
    height, width = (
        n * p / canonical_nm for n, p in zip(micrograph.shape, micrograph.calibration.pixel_size_nm, strict=True)
    )
    if height * width > _MAX_CANONICAL_PX:
        raise InputError(
            f"{micrograph.name}: {micrograph.shape} pixels of {micrograph.calibration.mean_nm:g} nm are "
            f"{height * width:.3g} pixels of {canonical_nm:g} nm; allowed {_MAX_CANONICAL_PX:g}; "
            "check the pixel size or cut the image into pieces"
        )


def _run(view: Canonical, model: Model, config: InferConfig) -> _Maps:
    """All maps, tile by tile."""
    image = view.normalized.image
    stride = model.network.config.stride
    # Zeros up to a multiple of the stride: what the network's own padding means by "outside".
    padded = np.pad(image, [(0, -n % stride) for n in image.shape])
    halo = _up(model.network.config.receptive_px, stride)
    heads = model.network.config.heads
    maps = _Maps(
        heatmap=np.empty(padded.shape, np.float32),
        offset=np.empty((2, *padded.shape), np.float32),
        offset_sigma=np.empty(padded.shape, np.float32),
        restored=np.empty(padded.shape, np.float32),
        crystal=np.empty(padded.shape, np.float32),
        denoised=np.empty(padded.shape, np.float32) if "denoised" in heads else None,
        columns=np.empty(padded.shape, np.float32) if "columns" in heads else None,
    )
    for tile in tiles((padded.shape[0], padded.shape[1]), _up(config.tile_px, stride), halo):
        _run_tile(torch.from_numpy(padded[tile.read]), tile, model, maps)
    height, width = image.shape
    cut: dict[str, Any] = {}
    for name, whole in vars(maps).items():
        if whole is not None:
            cut[name] = np.ascontiguousarray(whole[..., :height, :width])
    return replace(maps, **cut)


@torch.inference_mode()
def _run_tile(piece: Tensor, tile: Tile, model: Model, maps: _Maps) -> None:
    """Run the network on one tile and write the valid part of its answers."""
    network: UNet = model.network
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if piece.numel() < _ONE_THREAD_PX else threads)
    try:
        # Tensor cores would round to ten bits: a few columns in 20 000 come and go, and 0.4 % of the phases' pixels.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = network(piece[None, None].to(model.device))
    finally:
        torch.set_num_threads(threads)
    keep = (slice(None), *tile.keep)
    maps.heatmap[tile.write] = torch.sigmoid(outputs.heatmap[0][keep])[0].cpu().numpy()
    maps.offset[:, *tile.write] = outputs.offset[0][keep].cpu().numpy()
    maps.offset_sigma[tile.write] = torch.exp(outputs.log_sigma[0][keep])[0].cpu().numpy()
    maps.restored[tile.write] = outputs.restored[0][keep][0].cpu().numpy()
    maps.crystal[tile.write] = torch.sigmoid(outputs.crystal[0][keep])[0].cpu().numpy()
    if maps.denoised is not None and outputs.denoised is not None:
        maps.denoised[tile.write] = outputs.denoised[0][keep][0].cpu().numpy()
    if maps.columns is not None and outputs.columns is not None:
        maps.columns[tile.write] = outputs.columns[0][keep][0].cpu().numpy()


def _up(value: int, multiple: int) -> int:
    """Smallest multiple that is not less than the value."""
    return -(-value // multiple) * multiple
