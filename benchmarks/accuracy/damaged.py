"""Images as they come from other programs (borders, bars, JPEG, lost rows, spikes), held against the undamaged ones.

    python benchmarks/accuracy/damaged.py [--model NAME|PATH]

The layered oxides among `samples/`, damaged by hand. Borders of zeros, of the mean and of NaN, and rows with the beam
off, are held against the image cut to what is seen; a wedge, bars, boxes, lost rows and spikes against the image
without them, a JPEG against the JPEG without them. Compared are the thickness (of each surface, where there are
several; a lower bound where that is all there is), the number of surfaces, and the columns.

About 12 minutes on two cores. Writes benchmarks/results/damaged.csv and .json.
"""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import REPOSITORY, RESULTS, write_json

from atomseg import Analysis, map_micrograph
from atomseg.io import read_micrograph
from atomseg.networks import load_model

SAMPLES = ("bulk_o1_faults", "qsc811_outer_surface", "sc811_surface_thin", "qsc811_crack_thick")
Pair = tuple[np.ndarray, np.ndarray]


def framed(image: np.ndarray, value: float) -> Pair:
    """A border of one value, and the image within it."""
    seen = (slice(60, -40), slice(50, -70))
    out = np.full_like(image, value)
    out[seen] = image[seen]
    return out, np.ascontiguousarray(image[seen])


def beam_off(image: np.ndarray) -> Pair:
    """The last three tenths of the scan with the beam off, and what was seen before."""
    out, last = image.copy(), int(0.7 * image.shape[0])
    dark = np.random.default_rng(0).normal(np.percentile(image, 0.5), 0.1 * image.std(), out[last:].shape)
    out[last:] = dark
    return out, np.ascontiguousarray(image[:last])


def wedge(image: np.ndarray) -> Pair:
    """What straightening a drift leaves: an oblique border of zeros; held against the whole image."""
    row, col = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.where(col < 40 * row / image.shape[0], 0, image).astype(np.float32), image


def drawn(image: np.ndarray, ground: int | None) -> Pair:
    """Exported to eight bits with a scale bar, on the image or in a box of `ground`; held against the export."""
    low, high = np.percentile(image, [0.1, 99.9])
    grey = np.clip(255 * (image - low) / (high - low), 0, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    draw, bottom, ink = ImageDraw.Draw(picture), image.shape[0] - 40, 255 if ground != 255 else 0
    if ground is not None:
        draw.rectangle((30, bottom - 80, 330, bottom + 20), fill=ground)
    draw.rectangle((50, bottom, 250, bottom + 9), fill=ink)
    draw.text((60, bottom - 60), "5 nm", fill=ink, font=ImageFont.load_default(size=40), stroke_width=1)
    return np.array(picture), grey


def data_bar(image: np.ndarray) -> Pair:
    """Exported with a bar of data below; held against the export."""
    grey = drawn(image, None)[1]
    bar = Image.new("L", (image.shape[1], 80), 0)
    ImageDraw.Draw(bar).text((20, 20), "HV 300 kV  HAADF  5 nm", fill=255, font=ImageFont.load_default(size=40))
    return np.concatenate([grey, np.array(bar)]), grey


def jpeg(pair: Pair) -> Pair:
    """Both as JPEG of quality 75, which most programs write."""
    read = []
    for image in pair:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        read.append(np.array(Image.open(file)))
    return read[0], read[1]


def lost_rows(image: np.ndarray) -> Pair:
    """Two dark and two bright scan rows."""
    out, third = image.copy(), image.shape[0] // 3
    out[third : third + 2], out[2 * third : 2 * third + 2] = 0, 3 * image.max()
    return out, image


def spikes(image: np.ndarray) -> Pair:
    """Twenty pixels at ten to a thousand times the brightest."""
    rng, out = np.random.default_rng(0), image.copy()
    row, col = (rng.integers(0, n, 20) for n in image.shape)
    out[row, col] = np.geomspace(10, 1e3, 20) * out.max()
    return out, image


DAMAGES: dict[str, Callable[[np.ndarray], Pair]] = {
    "border of zeros": lambda image: framed(image, 0.0),
    "border of the mean": lambda image: framed(image, float(image.mean())),
    "border of NaN": lambda image: framed(image, np.nan),
    "beam off": beam_off,
    "wedge of zeros": wedge,
    "scale bar": lambda image: drawn(image, None),
    "black box": lambda image: drawn(image, 0),
    "white box": lambda image: drawn(image, 255),
    "data bar": data_bar,
    "scale bar, JPEG": lambda image: jpeg(drawn(image, None)),
    "black box, JPEG": lambda image: jpeg(drawn(image, 0)),
    "white box, JPEG": lambda image: jpeg(drawn(image, 255)),
    "data bar, JPEG": lambda image: jpeg(data_bar(image)),
    "lost rows": lost_rows,
    "spikes": spikes,
}


def depths(found: Analysis) -> list[float]:
    """Mean or lower bound of each surface, nm, ascending."""
    each = found.thickness.surfaces.values()
    return sorted(s.mean_nm if s.mean_nm is not None else float(s.lower_bound_nm or 0.0) for s in each)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    model = load_model(parser.parse_args().model, device="cpu")
    rows = []
    for sample in SAMPLES:
        micrograph = read_micrograph(REPOSITORY / "samples" / f"{sample}.tif")
        for name, damage in DAMAGES.items():
            pair = damage(micrograph.image)
            size = micrograph.calibration.pixel_size_nm
            damaged, plain = (map_micrograph(image, pixel_size_nm=size, model=model) for image in pair)
            one, other = depths(damaged), depths(plain)
            rows.append(
                {
                    "sample": sample,
                    "damage": name,
                    "surfaces": len(one),
                    "surfaces_without": len(other),
                    "thickness_nm": "|".join(f"{d:.2f}" for d in one),
                    "without_nm": "|".join(f"{d:.2f}" for d in other),
                    "largest_change_nm": round(float(np.abs(np.subtract(one, other)).max(initial=0.0)), 3)
                    if len(one) == len(other)
                    else np.nan,
                    "columns": len(damaged.columns),
                    "columns_without": len(plain.columns),
                }
            )
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / "damaged.csv", index=False, lineterminator="\n")
    told = {
        "model": model.card.id,
        "images": len(table),
        "same_number_of_surfaces": float((table["surfaces"] == table["surfaces_without"]).mean()),
        "median_change_nm": float(table["largest_change_nm"].median()),
        "largest_change_nm": float(table["largest_change_nm"].max()),
    }
    print(told, write_json("damaged", told))


if __name__ == "__main__":
    main()
