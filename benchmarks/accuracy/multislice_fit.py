"""Fit of the renderer's column shape to multislice images: peak against thickness, tail, oxygen, interlayer floor.

    python benchmarks/accuracy/multislice_fit.py

Reads benchmarks/results/multislice_cells.npz (made by multislice_cells.py); needs no abTEM. Each crystal's images, at
all thicknesses and three source blurs, are fitted by the renderer's own model: every column a Gaussian core and a wide
Gaussian that holds a share of the column's light. Core width, oxygen and interlayer signal are common to all
thicknesses; the light of the core and the tail's share are free at each, and their courses are then fitted by
`Profile.peak` and `Profile.tail_weight`. The images hardly tell one tail width from another (the tails of neighbours
run together), so the fit is made for three. Writes benchmarks/results/multislice_terms.csv (by thickness),
multislice_floor.csv (by thickness and blur) and multislice_fit.json.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from multislice_images import CellImage, load
from record import RESULTS, write_json

from atomseg.crystal import haadf_weight
from atomseg.simulate import OpticsConfig
from atomseg.simulate.render import Profile

# Standard deviations of the source, nm: columns of 0.045 to 0.08 nm (the bare core is 0.03 nm).
BLURS_NM = (0.030, 0.045, 0.060)
TAILS_NM = (0.16, 0.20, 0.28)
# Misfits count relative to the image, so that the floor is fitted like the peaks; below this part of a peak no more.
DARK = 0.02
LITHIUM = haadf_weight({"Li": 1.0}, 1.7) / haadf_weight({"Ni": 1.0}, 1.7)
TABLE_BLURS_NM = (0.020, 0.034, 0.045, 0.060, 0.072)


def residual(terms: np.ndarray, tail_nm: float, cell: CellImage) -> tuple[np.ndarray, np.ndarray]:
    """(T, M) misfit relative to the images (plus `DARK` of the metal peak), and (T, 2) light of cores and of tails.

    Parameters
    ----------
    terms : numpy.ndarray
        Standard deviation of the core (nm, without source), signal of oxygen and of the interlayer site.
    tail_nm : float
        Standard deviation of the tail, nm.
    cell : CellImage
        Images of one crystal.
    """
    core, oxygen, interlayer = terms
    ga, gc = cell.reciprocal
    g2 = ga**2 + gc**2
    weights = (1.0, interlayer, oxygen, oxygen)
    structure = np.zeros(ga.shape, complex)
    for (_, along, across), weight in zip(cell.case.sites(), weights, strict=True):
        structure += weight * np.exp(-1j * (ga * along * cell.case.column_nm + gc * across * cell.case.layer_nm))
    structure /= cell.case.column_nm * cell.case.layer_nm
    size = ga.size
    model, data = [], []
    for blur in BLURS_NM:
        damped = cell.series * np.exp(-0.5 * blur**2 * g2)
        seen = size * np.fft.ifft2(damped).real.reshape(len(damped), -1)
        scale = seen + DARK * cell.site(0, blur)[:, None]
        shapes = [structure * np.exp(-0.5 * (s**2 + blur**2) * g2) for s in (core, tail_nm)]
        basis = np.stack([size * np.fft.ifft2(s).real.ravel() for s in shapes], axis=-1)
        model.append(basis[None] / scale[:, :, None])
        data.append(seen / scale)
    design, target = np.concatenate(model, axis=1), np.concatenate(data, axis=1)
    light = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(design, target, strict=True)])
    return np.einsum("tmk,tk->tm", design, light) - target, light


def fit_cell(cell: CellImage, tail_nm: float) -> tuple[dict[str, float], pd.DataFrame]:
    """What is common to all thicknesses, and a table by thickness."""
    # Lithium as the renderer has it, so that its share of the interlayer signal is not put into the floor twice.
    least, most = (0.0, 1.5) if cell.case.x else (LITHIUM, LITHIUM + 1e-6)
    found = least_squares(
        lambda p: residual(p, tail_nm, cell)[0].ravel(),
        np.array([0.033, 0.08, np.clip(cell.case.x, least + 5e-7, most - 5e-7)]),
        bounds=([0.01, 0.0, least], [0.08, 1.0, most]),
        x_scale=[0.01, 0.1, 0.1],
    )
    misfit, light = residual(found.x, tail_nm, cell)
    table = pd.DataFrame(
        {
            "case": cell.case.name,
            "tail_nm": tail_nm,
            "thickness_nm": cell.thickness_nm,
            "core_light_nm2": light[:, 0],
            "tail_share": light[:, 1] / light.sum(axis=1),
            "relative_rms": np.sqrt((misfit**2).mean(axis=1)),
        }
    )
    common = dict(zip(("core_nm", "oxygen", "interlayer"), found.x.tolist(), strict=True))
    if 0.0 < cell.case.x < 1.0:  # the renderer's signal of an interlayer column is x^m + (1 - x) lithium
        nickel = common["interlayer"] - (1.0 - cell.case.x) * LITHIUM
        common["mixing_exponent"] = float(np.log(nickel) / np.log(cell.case.x))
    return {**common, **fit_courses(table), "mean_relative_rms": float(table["relative_rms"].mean())}, table


def fit_courses(table: pd.DataFrame) -> dict[str, float]:
    """Constants of the renderer's forms for one crystal, and their largest misfits (of the last core light; of one)."""
    t = table["thickness_nm"].to_numpy()
    light = (table["core_light_nm2"] / table["core_light_nm2"].iloc[-1]).to_numpy()
    share = table["tail_share"].to_numpy()
    max_tail = OpticsConfig().max_tail

    def misfit(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        profile = Profile(0.05, 0.05, 0.0, 0.2, p[0], max_tail, p[1], 1.0)
        weight, peak = profile.tail_weight(t), profile.peak(t)
        return peak * (light @ peak) / (peak @ peak) - light, weight / (1.0 + weight) - share

    start, bounds = [0.045, 10.0], ([0.0, 2.0], [0.2, 100.0])
    best = least_squares(lambda p: np.concatenate(misfit(p)), start, bounds=bounds, x_scale=[0.01, 1.0]).x
    off_light, off_share = misfit(best)
    return {
        "tail_per_nm": float(best[0]),
        "saturation_nm": float(best[1]),
        "largest_light_misfit": float(np.abs(off_light).max()),
        "largest_share_misfit": float(np.abs(off_share).max()),
    }


def floors(cell: CellImage) -> pd.DataFrame:
    """What an image shows: peak and ratios to it, by blur and thickness."""
    parts = []
    for blur in TABLE_BLURS_NM:
        metal = cell.site(0, blur)
        along = np.linspace(0.0, 0.12, 121)
        profile = cell.at(along, np.zeros_like(along), blur)
        base = cell.minimum(blur)
        half = 0.5 * (metal + base)
        width = np.array([np.interp(-h, -p, along) for h, p in zip(half, profile, strict=True)]) / np.sqrt(
            2 * np.log(2)
        )
        parts.append(
            pd.DataFrame(
                {
                    "case": cell.case.name,
                    "blur_nm": blur,
                    "thickness_nm": cell.thickness_nm,
                    "metal_peak": metal,
                    "interlayer_over_metal": cell.site(1, blur) / metal,
                    "oxygen_over_metal": cell.site(2, blur) / metal,
                    "minimum_over_metal": base / metal,
                    "apparent_sigma_nm": width,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def main() -> int:
    terms, rows = [], []
    cells = load()
    for name, cell in cells.items():
        for tail_nm in TAILS_NM:
            constants, table = fit_cell(cell, tail_nm)
            terms.append(table)
            rows.append({"case": name, "tail_nm": tail_nm, **constants})
    pd.concat(terms).round(6).to_csv(RESULTS / "multislice_terms.csv", index=False)
    pd.concat([floors(c) for c in cells.values()]).round(5).to_csv(RESULTS / "multislice_floor.csv", index=False)
    setting = {"blurs_nm": BLURS_NM, "max_tail": OpticsConfig().max_tail}
    write_json("multislice_fit", {"setting": setting, "constants": rows})
    print(pd.DataFrame(rows).round(4).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
