"""Two plain ways to map phases, for comparison: a windowed Fourier ratio, and clusters of local patches."""

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter, zoom

from atomseg.types import Phase

WINDOW_NM, STEP_NM = 1.6, 0.25
# Spacings: (003) 0.447 to 0.482 nm, the lattice's other strong spots down to 0.19 nm.
LAYER_NM, LATTICE_NM = (0.42, 0.52), (0.19, 0.27)
FLAT = 0.25


def windows(image: np.ndarray, pixel_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """(ny, nx, s, s) windows around a coarse grid of pixels, and their local contrast."""
    half = max(4, round(0.5 * WINDOW_NM / pixel_nm))
    step = max(1, round(STEP_NM / pixel_nm))
    padded = np.pad(image, half, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (2 * half, 2 * half))[::step, ::step]
    smooth = gaussian_filter(image, 0.04 / pixel_nm)
    contrast = np.sqrt(
        np.maximum(gaussian_filter(smooth**2, 0.3 / pixel_nm) - gaussian_filter(smooth, 0.3 / pixel_nm) ** 2, 0)
    )
    view = view[: len(contrast[::step]), : contrast[:, ::step].shape[1]]
    return view, contrast[::step, ::step]


def enlarged(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour enlargement to the image."""
    big = zoom(coarse, (shape[0] / coarse.shape[0], shape[1] / coarse.shape[1]), order=0)
    return np.pad(big, [(0, max(0, n - b)) for n, b in zip(shape, big.shape, strict=True)], mode="edge")[
        : shape[0], : shape[1]
    ]


def otsu(value: np.ndarray) -> float:
    """Threshold that parts a histogram best."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(value)) if np.ptp(value) > 0 else float(value.flat[0])


def fourier_ratio(image: np.ndarray, pixel_nm: float) -> np.ndarray:
    """(H, W) phases: (003) over lattice power in a moving window; rocksalt below a quarter of the median."""
    view, contrast = windows(np.asarray(image, np.float32), pixel_nm)
    n = view.shape[-1]
    taper = np.outer(np.hanning(n), np.hanning(n)).astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(n, pixel_nm)[:, None], np.fft.rfftfreq(n, pixel_nm)[None, :])
    layer = (frequency > 1 / LAYER_NM[1]) & (frequency < 1 / LAYER_NM[0])
    lattice = (frequency > 1 / LATTICE_NM[1]) & (frequency < 1 / LATTICE_NM[0])
    ratio = np.empty(view.shape[:2])
    for i in range(len(view)):
        part = (view[i] - view[i].mean(axis=(1, 2), keepdims=True)) * taper
        power = np.abs(np.fft.rfft2(part)) ** 2
        ratio[i] = power[:, layer].max(axis=1) / np.maximum(power[:, lattice].max(axis=1), 1e-12)
    crystal = contrast > FLAT * np.percentile(contrast, 95)
    typical = np.median(ratio[crystal]) if crystal.any() else 1.0
    labels = np.where(ratio < FLAT * typical, Phase.ROCKSALT, Phase.LAYERED)
    return enlarged(np.where(crystal, labels, Phase.NONE).astype(np.uint8), image.shape)


def patch_clusters(image: np.ndarray, pixel_nm: float, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """(H, W) phases: components of windows' spectra, k-means; clusters named by the truth, to its favour."""
    view, _ = windows(np.asarray(image, np.float32), pixel_nm)
    ny, nx, n, _ = view.shape
    taper = np.outer(np.hanning(n), np.hanning(n)).astype(np.float32)
    frequency = np.hypot(np.fft.fftfreq(n, pixel_nm)[:, None], np.fft.rfftfreq(n, pixel_nm)[None, :])
    low = frequency < 6.0
    rows = [np.log1p(np.abs(np.fft.rfft2((v - v.mean(axis=(1, 2), keepdims=True)) * taper))[:, low]) for v in view]
    features = np.concatenate(rows)
    features = features - features.mean(axis=0)
    _, vectors = np.linalg.eigh(features.T @ features)
    _, cluster = kmeans2(features @ vectors[:, -10:], 6, minit="++", seed=seed)
    coarse = truth[np.linspace(0, truth.shape[0] - 1, ny).astype(int)][
        :, np.linspace(0, truth.shape[1] - 1, nx).astype(int)
    ].ravel()
    names = np.array(
        [np.bincount(coarse[cluster == k], minlength=5).argmax() if (cluster == k).any() else 0 for k in range(6)]
    )
    return enlarged(names[cluster].reshape(ny, nx).astype(np.uint8), truth.shape)
