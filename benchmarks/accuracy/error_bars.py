"""Whether claimed errors are true where rows are displaced and where images were filtered.

    python benchmarks/accuracy/error_bars.py [--model NAME|PATH] [--scenes 2] [--seed 0]

Cathode edges of 20 pm pixels and columns 55 pm wide, at 3000 and 10 000 counts a column, with line jitter, mains
interference of an amplitude and a period, both, or a Gaussian filter; beside them the same scenes without. Required
columns that were found within 100 pm: RMSE of one coordinate across and along the scan lines, what `sigma_y_pm` and
`sigma_x_pm` claim of it (root mean square), and how many lie in their nominal 90 % ellipses. True positions sway with
interference and not with jitter. `amplitude_over_claim`: how much amplitudes over true ones scatter around their median
(by the median absolute deviation) in units of what `amplitude_err` claims, of columns that are not dim.

About 3 minutes on one core. Writes benchmarks/results/error_bars.csv and .json.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats import chi2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json
from scenes import tier

from atomseg.infer import infer
from atomseg.localize import LocalizeConfig, localize
from atomseg.networks import Model, load_model
from atomseg.simulate import SceneConfig, simulate

COUNTS, PIXEL_PM, SIGMA_PM, FIELD_NM = (3e3, 1e4), 20.0, 55.0, 11.0
# Jitter (pm), amplitude (pm) and period (rows) of interference, standard deviation of a filter (pm).
EFFECTS = (
    (0.0, 0.0, 60.0, 0.0),
    (5.0, 0.0, 60.0, 0.0),
    (0.0, 6.0, 60.0, 0.0),
    (0.0, 20.0, 60.0, 0.0),
    (0.0, 40.0, 100.0, 0.0),
    (5.0, 6.0, 60.0, 0.0),
    (5.0, 10.0, 15.0, 0.0),
    (5.0, 20.0, 30.0, 0.0),
    (5.0, 20.0, 60.0, 0.0),
    (5.0, 40.0, 100.0, 0.0),
    (0.0, 0.0, 60.0, 10.0),
    (0.0, 0.0, 60.0, 25.0),
    (0.0, 0.0, 60.0, 40.0),
)
SAME_NM, NOMINAL = 0.1, 0.9
# Of the median amplitude; dimmer ones carry light of their neighbours.
DIM, MAD = 0.6, 1.4826


def with_effects(config: SceneConfig, effects: tuple[float, float, float, float]) -> SceneConfig:
    """The scene with exactly these."""
    jitter, amplitude, period, filtered = ((value, value) for value in effects)
    scan = dataclasses.replace(config.scan, jitter_pm=jitter, p_wobble=1.0, wobble_pm=amplitude, wobble_rows=period)
    detector = config.detector
    if filtered[0] > 0.0:
        detector = dataclasses.replace(detector, p_filter=1.0, filter_pm=filtered)
    return dataclasses.replace(config, scan=scan, detector=detector)


def measure(config: SceneConfig, model: Model, *, scenes: int, seed: int) -> dict[str, float]:
    """Errors and claims of the columns of some scenes together."""
    errors, claims, brightness = [], [], []
    for number in range(scenes):
        scene = simulate(config, np.random.default_rng([seed, number, 90]))
        found = localize(scene.micrograph, infer(scene.micrograph, model), LocalizeConfig(), device=str(model.device))
        required = scene.columns.table["required"].to_numpy(bool)
        true = scene.columns.yx_nm[required]
        distance, nearest = cKDTree(true).query(found.yx_nm)
        same = distance < SAME_NM
        errors.append(1e3 * (found.yx_nm - true[nearest])[same])
        claims.append(1e3 * found.sigma_nm[same])
        light = scene.columns.table["amplitude"].to_numpy()[required][nearest[same]]
        brightness.append(_over_claim(found.table[same], light))
    error, claim = np.concatenate(errors), np.concatenate(claims)
    inside = ((error / claim) ** 2).sum(1) < chi2.ppf(NOMINAL, 2)
    (rmse_y, rmse_x), (claim_y, claim_x) = (np.sqrt((v**2).mean(0)) for v in (error, claim))
    return {
        "columns": len(error),
        "rmse_y_pm": rmse_y,
        "rmse_x_pm": rmse_x,
        "claimed_y_pm": claim_y,
        "claimed_x_pm": claim_x,
        "in_90_ellipse": inside.mean(),
        "amplitude_over_claim": MAD * np.median(np.abs(np.concatenate(brightness))),
    }


def _over_claim(found: pd.DataFrame, true: np.ndarray) -> np.ndarray:
    """Errors of amplitudes, what all columns have in common left out, in units of what is claimed."""
    bright = true > DIM * np.median(true)
    ratio, claim = (found[name].to_numpy()[bright] / true[bright] for name in ("amplitude", "amplitude_err"))
    return (ratio - np.median(ratio)) / claim


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model, rows = load_model(arguments.model), []
    for counts in COUNTS:
        plain = tier(counts, PIXEL_PM, SIGMA_PM, field_nm=FIELD_NM, covered=False)
        for effects in EFFECTS:
            jitter, amplitude, period, filtered = effects
            row = {"counts": counts, "jitter_pm": jitter, "interference_pm": amplitude}
            row |= {"period_rows": period if amplitude else None, "filter_pm": filtered}
            rows.append(
                row | measure(with_effects(plain, effects), model, scenes=arguments.scenes, seed=arguments.seed)
            )
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.round(3).to_csv(RESULTS / "error_bars.csv", index=False)
    records = table.round(3).astype(object).where(table.notna(), None).to_dict("records")
    write_json("error_bars", {"model": model.card.id, "model_sha256": model.sha256, "rows": records})
    return 0


if __name__ == "__main__":
    sys.exit(main())
