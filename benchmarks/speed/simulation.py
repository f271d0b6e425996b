"""Training images made in a second, on one core and on a GPU where there is one.

    python benchmarks/speed/simulation.py [--scenes 100] [--batch 64]

One core: structure, rendering, noise, resampling, normalization and targets, as a training process does them. GPU: the
rendering alone of scenes whose structures were drawn before. Bounds: 15 ms for 192 canonical pixels a side and 30 ms
for 256 on one core.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from record import write_json

from atomseg.imaging import CANONICAL_PIXEL_NM
from atomseg.simulate import ScanConfig, SceneConfig
from atomseg.simulate.expose import expose
from atomseg.simulate.scene import draw_exposure
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import TRAINING, example_generator, make_example
from atomseg.train.scenes import TrainingScenes

BOUND_MS = {192: 15.0, 256: 30.0}
REPEATS = 3
PIXEL_NM = 0.020  # of the scenes on the GPU


def per_scene_ms(work: Callable[[int], Any], scenes: int) -> tuple[float, float]:
    """Least milliseconds a scene over some repeats, of the processor and on the clock."""
    for k in range(5):
        work(k)
    cpu, wall = [], []
    for _ in range(REPEATS):
        started, clock = time.process_time(), time.perf_counter()
        for k in range(scenes):
            work(k)
        cpu.append(time.process_time() - started)
        wall.append(time.perf_counter() - clock)
    return round(1e3 * min(cpu) / scenes, 2), round(1e3 * min(wall) / scenes, 2)


def one_core(side: int, scenes: int) -> dict[str, Any]:
    """A training image of this many canonical pixels a side, everything included, and its scene alone."""
    config = TrainConfig(crop_px=side)
    source = TrainingScenes(SceneConfig(), config)

    def example(k: int) -> None:
        rng = example_generator(config.seed, TRAINING, k)
        make_example(source(rng), config, rng)

    cpu, wall = per_scene_ms(example, scenes)
    scene, _ = per_scene_ms(lambda k: source(example_generator(config.seed, TRAINING, k)), scenes)
    return {
        "cpu_ms": cpu,
        "wall_ms": wall,
        "images_per_s": round(1e3 / cpu, 1),
        "scene_cpu_ms": scene,
        "bound_ms": BOUND_MS[side],
        "within_bound": cpu <= BOUND_MS[side],
    }


def gpu(side: int, batch: int) -> dict[str, Any]:
    """Rendering of a batch of the same field of view on a GPU."""
    pixels = round(side * CANONICAL_PIXEL_NM / PIXEL_NM)
    config = SceneConfig(shape=(pixels, pixels), scan=ScanConfig(pixel_size_nm=(PIXEL_NM, PIXEL_NM)))
    exposures = [draw_exposure(config, example_generator(0, TRAINING, k))[1] for k in range(batch)]
    seconds = []
    for _ in range(REPEATS + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        expose(exposures, "cuda")
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return {"batch": batch, "images_per_s": round(batch / min(seconds[1:]), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numbers: dict[str, Any] = {
        "scenes": arguments.scenes,
        "one_core": {str(side): one_core(side, arguments.scenes) for side in BOUND_MS},
        "gpu": None,
    }
    if torch.cuda.is_available():
        numbers["gpu"] = {
            "name": torch.cuda.get_device_name(),
            **{str(side): gpu(side, arguments.batch) for side in BOUND_MS},
        }
    print(json.dumps(numbers, indent=2))
    print(write_json("simulation", numbers))
    return 0 if all(part["within_bound"] for part in numbers["one_core"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
