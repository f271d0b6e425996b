"""What a heat map is worth: columns found, missed and invented, and how far off they are."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

# Two peaks closer than this are one column: the closest columns that the network is trained on are 0.12 nm apart.
_MERGE_NM = 0.08


@dataclass(frozen=True)
class Counts:
    """Sums over scenes; add them up, then ask for rates.

    Parameters
    ----------
    found, missed, invented : int
        Required columns found and missed, and peaks without any visible column.
    error2_nm2 : float
        Summed squared distance of the found columns, nm².
    bound2_nm2 : float
        Summed squared Cramer-Rao bounds of these, nm².
    empty_area_nm2 : float
        Area outside crystal.
    invented_in_empty : int
        Invented peaks there.
    """

    found: int = 0
    missed: int = 0
    invented: int = 0
    error2_nm2: float = 0.0
    bound2_nm2: float = 0.0
    empty_area_nm2: float = 0.0
    invented_in_empty: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            found=self.found + other.found,
            missed=self.missed + other.missed,
            invented=self.invented + other.invented,
            error2_nm2=self.error2_nm2 + other.error2_nm2,
            bound2_nm2=self.bound2_nm2 + other.bound2_nm2,
            empty_area_nm2=self.empty_area_nm2 + other.empty_area_nm2,
            invented_in_empty=self.invented_in_empty + other.invented_in_empty,
        )

    def rates(self) -> dict[str, float]:
        """Precision, recall, F1, RMSE (2D, pm; and over its bound) and false columns per 100 nm² outside crystal."""
        precision = self.found / max(1, self.found + self.invented)
        recall = self.found / max(1, self.found + self.missed)
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(1e-9, precision + recall),
            "rmse_pm": 1e3 * (self.error2_nm2 / max(1, self.found)) ** 0.5,
            # 0 where nothing was found, or no bound is known: own labelled images have none.
            "rmse_over_crlb": (self.error2_nm2 / self.bound2_nm2) ** 0.5 if self.bound2_nm2 > 0 else 0.0,
            "false_per_100nm2": 100 * self.invented_in_empty / max(1e-9, self.empty_area_nm2),
        }


def find_peaks(
    heatmap: Tensor, offset: Tensor, threshold: float, pixel_size_nm: float, sigma: Tensor | None = None
) -> np.ndarray:
    """Refined positions of the local maxima of one heat map, the surest first.

    Parameters
    ----------
    heatmap : torch.Tensor
        (H, W) in 0..1.
    offset : torch.Tensor
        (2, H, W) vectors to the nearest column, pixels.
    threshold : float
        Smallest heat map value of a column.
    pixel_size_nm : float
        Size of a pixel.
    sigma : torch.Tensor, optional
        (H, W) standard deviation of each component of `offset`, pixels.

    Returns
    -------
    numpy.ndarray
        (N, 4) float64: y, x in pixels, the heat map value, and sigma (0 where not given).
    """
    highest = functional.max_pool2d(heatmap[None, None], 3, stride=1, padding=1)[0, 0]
    rows, cols = torch.nonzero((heatmap == highest) & (heatmap >= threshold), as_tuple=True)
    value = heatmap[rows, cols]
    shift = offset[:, rows, cols].clamp(-1.5, 1.5)
    spread = torch.zeros_like(value) if sigma is None else sigma[rows, cols]
    peaks = torch.stack([rows + shift[0], cols + shift[1], value, spread], dim=1).double().cpu().numpy()
    peaks = peaks[np.argsort(-peaks[:, 2], kind="stable")]
    keep = np.ones(len(peaks), dtype=bool)
    if len(peaks) > 1:
        pairs = cKDTree(peaks[:, :2]).query_pairs(_MERGE_NM / pixel_size_nm, output_type="ndarray")
        keep[pairs.max(axis=1)] = False
    return peaks[keep]


def nearest_truth(found_yx: np.ndarray, true_yx: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) distance of each found column from the nearest true one, which that is, and whether it is mutual.

    Both (N, 2) and (M, 2), in one unit and not empty.
    """
    distance, truth = cKDTree(true_yx).query(found_yx)
    _, back = cKDTree(found_yx).query(true_yx)
    return distance, truth, back[truth] == np.arange(len(found_yx))


def count_matches(
    found_yx_nm: np.ndarray,
    true_yx_nm: np.ndarray,
    required: np.ndarray,
    bound_nm: np.ndarray,
    *,
    radius_nm: float = 0.05,
) -> tuple[Counts, np.ndarray]:
    """Mutual nearest neighbours within a radius; visible columns that need not be found are neither right nor wrong.

    Columns are 0.12 nm apart or more and the radius is less than half of that, so mutual nearest neighbours are the
    best one-to-one assignment.

    Returns
    -------
    counts : Counts
        The sums, without areas.
    invented : numpy.ndarray
        (N,) bool, True for peaks that belong to no listed column.
    """
    invented = np.ones(len(found_yx_nm), dtype=bool)
    if not len(true_yx_nm) or not len(found_yx_nm):
        return Counts(missed=int(required.sum()), invented=len(found_yx_nm)), invented
    distance, truth, mutual = nearest_truth(found_yx_nm, true_yx_nm)
    matched = mutual & (distance <= radius_nm)
    invented = ~matched
    good = matched & required[truth]
    n_found = int(good.sum())
    counts = Counts(
        found=n_found,
        missed=int(required.sum()) - n_found,
        invented=int(invented.sum()),
        error2_nm2=float(np.square(distance[good]).sum()),
        bound2_nm2=float(np.square(bound_nm[truth[good]]).sum()),
    )
    return counts, invented
