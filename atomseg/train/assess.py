"""What a network finds in scenes with truth: threshold, rates, recall by signal-to-noise ratio, honesty of sigma."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from atomseg.networks import SigmaMap, UNet, map_sigma
from atomseg.train.dataset import Example
from atomseg.train.metrics import Counts, count_matches, find_peaks, nearest_truth
from atomseg.train.targets import is_dim

# Heat map values among which the detection threshold is chosen.
THRESHOLDS = tuple(round(0.2 + 0.05 * k, 2) for k in range(11))
# A surface is found where columns end: invented ones in vacuum or in an amorphous cover move it.
# A few films hold most of them, so that two samples of scenes differ two or three times: half of what is tolerated.
MOST_FALSE_PER_100NM2 = 0.5
# Lower ends of the tiers of matched-filter signal-to-noise ratio in which recall is stated.
SNR_TIERS = (5.0, 7.0, 10.0, 20.0)
# Outside crystal begins this far beyond its outline, a column spacing: a column of the edge that is found in the wrong
# place is a poor position, not an invention in vacuum.
EDGE_NM = 0.25
# Columns below this ratio are not in the image: a peak there is an invention.
VISIBLE_SNR = 2.0
# Radii that hold these shares of a circular normal distribution of unit standard deviation a component.
_RADII = {p: float(np.sqrt(-2 * np.log(1 - p))) for p in (0.68, 0.90)}
# Half of the smallest distance of two columns: further away it is another one.
_SAME_COLUMN_NM = 0.06
# Enough columns that a 90 % quantile of a bin is known to a few percent.
_COLUMNS_A_SIGMA_BIN, _MOST_SIGMA_BINS = 400, 8


def choose_threshold(
    network: UNet,
    examples: list[Example],
    device: torch.device | str = "cpu",
    *,
    most_false_per_100nm2: float = MOST_FALSE_PER_100NM2,
) -> tuple[float, dict[str, float]]:
    """Threshold of `THRESHOLDS` with the best F1 over examples, and all rates there.

    Only thresholds that invent no more columns outside crystal than is allowed are considered, where there are any.

    Parameters
    ----------
    network : UNet
        Is used in eval mode and left in the mode it came in.
    examples : list of Example
        Scenes with truth.
    device : torch.device or str
        Where the network is.
    most_false_per_100nm2 : float
        Most inventions in 100 nm² outside crystal.
    """
    totals = dict.fromkeys(THRESHOLDS, Counts())
    for example, peaks in _peaks(network, examples, min(THRESHOLDS), device):
        for threshold in THRESHOLDS:
            totals[threshold] += count_example(example, peaks[peaks[:, 2] >= threshold, :2])
    rates = {threshold: counts.rates() for threshold, counts in totals.items()}
    clean = [t for t in THRESHOLDS if rates[t]["false_per_100nm2"] <= most_false_per_100nm2] or [max(THRESHOLDS)]
    best = max(clean, key=lambda threshold: rates[threshold]["f1"])
    return best, rates[best]


def assess(
    network: UNet,
    examples: Iterable[Example],
    threshold: float,
    sigma_map: SigmaMap = (),
) -> dict[str, float]:
    """Accuracy for a model card; the keys carry units, matches lie within 50 pm.

    Parameters
    ----------
    network : UNet
        On the CPU.
    examples : iterable of Example
        Scenes that it was not trained on.
    threshold : float
        Heat map value of a column.
    sigma_map : tuple of tuple of float
        From `calibrate_sigma`; its coverage is measured.
    """
    errors: list[np.ndarray] = []
    total, dim, scene_f1, n_scenes = Counts(), Counts(), [], 0
    tiers = {low: Counts() for low in SNR_TIERS}
    for example, peaks in _peaks(network, examples, threshold, "cpu"):
        n_scenes += 1
        errors.append(_errors(example, peaks))
        counts = count_example(example, peaks[:, :2])
        total += counts
        if counts.found + counts.missed:
            scene_f1.append(counts.rates()["f1"])
        columns = example.truth
        yx_nm, bound_nm = columns.yx_px * example.pixel_nm, columns.bound_px * example.pixel_nm
        chosen = columns.required.copy()
        chosen[chosen] = is_dim(columns)
        dim += count_matches(peaks[:, :2] * example.pixel_nm, yx_nm, chosen, bound_nm)[0]
        tier = np.digitize(columns.snr, SNR_TIERS)
        for k, low in enumerate(SNR_TIERS):
            chosen = columns.required & (tier == k + 1)
            tiers[low] += count_matches(peaks[:, :2] * example.pixel_nm, yx_nm, chosen, bound_nm)[0]
    result = {f"{name}_50pm" if name in {"precision", "recall", "f1"} else name: v for name, v in total.rates().items()}
    for name, tier_counts in zip(tier_names(), tiers.values(), strict=True):
        rates = tier_counts.rates()
        result[f"recall_snr_{name}"] = rates["recall"]
        result[f"rmse_pm_snr_{name}"] = rates["rmse_pm"]
    result["recall_dim"] = dim.rates()["recall"]
    result |= coverage(np.concatenate(errors), sigma_map) if errors else {}
    return {k: round(v, 5) for k, v in result.items()} | {
        "scenes": float(n_scenes),
        "median_scene_f1_50pm": round(float(np.median(scene_f1)), 5) if scene_f1 else 0.0,
        "required_columns": float(total.found + total.missed),
        "area_outside_crystal_nm2": round(total.empty_area_nm2, 1),
    }


def count_example(example: Example, peaks_yx: np.ndarray) -> Counts:
    """Matches of the peaks of one example, with what was invented outside crystal."""
    columns = example.truth
    visible = columns.required | (columns.snr >= VISIBLE_SNR)
    counts, invented = count_matches(
        peaks_yx * example.pixel_nm,
        columns.yx_px[visible] * example.pixel_nm,
        columns.required[visible],
        columns.bound_px[visible] * example.pixel_nm,
    )
    empty = distance_transform_edt(example.crystal[0].numpy() < 0.5) * example.pixel_nm > EDGE_NM
    pixel = peaks_yx[invented].round().astype(int).clip(0, empty.shape[0] - 1)
    return counts + Counts(
        empty_area_nm2=float(empty.sum()) * example.pixel_nm**2,
        invented_in_empty=int(empty[pixel[:, 0], pixel[:, 1]].sum()),
    )


def calibrate_sigma(network: UNet, examples: Iterable[Example], threshold: float) -> SigmaMap:
    """What the predicted sigma of the offsets is in truth: (predicted, measured) pairs in pixels, both rising.

    Columns are sorted into bins of predicted sigma. The measured one is that of the circular normal distribution whose
    68 and 90 % radii fit the errors in the bin best: an error bar holds what it says also where a few columns are far
    off, which a root mean square would not.
    """
    errors = np.concatenate([_errors(example, peaks) for example, peaks in _peaks(network, examples, threshold, "cpu")])
    n_bins = min(_MOST_SIGMA_BINS, len(errors) // _COLUMNS_A_SIGMA_BIN)
    if n_bins < 1:
        return ()
    parts = np.array_split(errors[np.argsort(errors[:, 1], kind="stable")], n_bins)
    predicted = np.array([np.median(part[:, 1]) for part in parts])
    radii = np.array([np.quantile(part[:, 0], list(_RADII)) for part in parts])
    measured = np.maximum.accumulate((radii / np.array(list(_RADII.values()))).mean(axis=1))
    keep = np.concatenate([[True], np.diff(predicted) > 1e-4])
    return tuple((round(float(p), 5), round(float(m), 5)) for p, m in zip(predicted[keep], measured[keep], strict=True))


def coverage(errors: np.ndarray, sigma_map: SigmaMap) -> dict[str, float]:
    """Share of found columns within the calibrated 68 and 90 % radii, overall and by signal-to-noise ratio.

    Parameters
    ----------
    errors : numpy.ndarray
        (N, 3) from `_errors`: distance, predicted sigma, signal-to-noise ratio.
    sigma_map : tuple of tuple of float
        From `calibrate_sigma`; empty takes sigma as predicted.
    """
    sigma = map_sigma(errors[:, 1], sigma_map)
    tier = np.digitize(errors[:, 2], SNR_TIERS)
    inside = {p: errors[:, 0] <= radius * sigma for p, radius in _RADII.items()}
    result = {f"offset_coverage_{100 * p:.0f}": float(hit.mean()) if len(hit) else 0.0 for p, hit in inside.items()}
    for k, name in enumerate(tier_names()):
        hit = inside[0.90][tier == k + 1]
        result[f"offset_coverage_90_snr_{name}"] = float(hit.mean()) if len(hit) else 0.0
    return result


def tier_names() -> list[str]:
    """Names of the tiers of `SNR_TIERS`, the dimmest first."""
    return [f"{low:g}_to_{high:g}" for low, high in pairwise(SNR_TIERS)] + [f"above_{SNR_TIERS[-1]:g}"]


def _errors(example: Example, peaks: np.ndarray) -> np.ndarray:
    """(N, 3) of the required columns found: distance and predicted sigma in pixels, signal-to-noise ratio."""
    columns = example.truth
    if not len(peaks) or not len(columns.yx_px):
        return np.zeros((0, 3))
    distance, truth, mutual = nearest_truth(peaks[:, :2], columns.yx_px)
    good = mutual & columns.required[truth] & (distance <= _SAME_COLUMN_NM / example.pixel_nm)
    return np.stack([distance[good], peaks[good, 3], columns.snr[truth[good]]], axis=1)


@torch.inference_mode()
def _peaks(
    network: UNet, examples: Iterable[Example], threshold: float, device: torch.device | str
) -> Iterator[tuple[Example, np.ndarray]]:
    """Each example with its peaks, (N, 4), from `find_peaks`."""
    was_training = network.training
    network.eval()
    try:
        for example in examples:
            outputs = network(example.image[None].to(device))
            heatmap, offset = torch.sigmoid(outputs.heatmap[0, 0]).cpu(), outputs.offset[0].cpu()
            sigma = torch.exp(outputs.log_sigma[0, 0]).cpu()
            yield example, find_peaks(heatmap, offset, threshold, example.pixel_nm, sigma)
    finally:
        network.train(was_training)
