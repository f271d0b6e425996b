"""`atomseg simulate`: micrographs with their exact truth."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atomseg.cli.errors import one_line_errors
from atomseg.errors import UsageError

if TYPE_CHECKING:
    from atomseg.simulate import SceneConfig
    from atomseg.types import Scene


@one_line_errors
def simulate_command(  # noqa: PLR0917 - Typer reads the options off the signature
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the scenes.")],
    config: Annotated[
        str | None,
        typer.Argument(metavar="[CONFIG]", help="YAML file, or the name of a shipped one; with --cif: crystal."),
    ] = None,
    cif: Annotated[
        Path | None,
        typer.Option("--cif", metavar="FILE", help="Your crystal: a CIF, or another structure file that ASE reads."),
    ] = None,
    zone: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--zone", metavar="U V W", help="Its zone axis [u v w], e.g. --zone 1 1 0."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", metavar="N", help="How many scenes.")] = 1,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Seed; scene i is the same whatever N.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace scenes that are already there.")] = False,
) -> None:
    """Simulate micrographs; each folder OUT/scene_0000 holds a calibrated image and its truth."""
    if n < 1 or seed < 0:
        raise UsageError(f"-n {n} --seed {seed}: allowed are n from 1 and a seed from 0")
    if (cif is None) != (zone is None):
        raise UsageError("--cif and --zone go together, e.g. --cif Si.cif --zone 1 1 0")
    if config is None and cif is None:
        raise UsageError("nothing to simulate: name a CONFIG (e.g. cathode_surface), or give --cif FILE --zone U V W")
    from atomseg.batch import prepare_output
    from atomseg.config import load_simulation_config

    settings = load_simulation_config(config or "crystal")
    if cif is not None and zone is not None:
        settings = settings.of_crystal(cif, zone)
    kept = 0 if overwrite else _check_those_there(settings, output, n=n, seed=seed)
    prepare_output(output)
    _write(settings, output, n=n, seed=seed, overwrite=overwrite)
    made = f"{n - kept} scene{'' if n - kept == 1 else 's'}"
    typer.echo(f"{made} added to the {kept} that were in {output}" if kept else f"{made} in {output}")


def _check_those_there(settings: "SceneConfig", output: Path, *, n: int, seed: int) -> int:
    """How many scenes are there; bad usage if one differs from what would be written: nothing is replaced or mixed."""
    from tqdm import tqdm

    from atomseg.io import write_scene

    there = [index for index in range(n) if _folder(output, index).exists()]
    for index in tqdm(there, desc="compare", unit="scene", dynamic_ncols=True, disable=None):
        folder = _folder(output, index)
        with tempfile.TemporaryDirectory() as place:
            again = Path(place) / folder.name
            write_scene(_scene(settings, seed, index), again)
            if _files(again) != _files(folder):
                raise UsageError(
                    f"{folder} is there and not the scene that this command makes (other settings, seed or version, or "
                    "it was changed); give --overwrite to replace it, or another output folder"
                )
    return len(there)


def _write(settings: "SceneConfig", output: Path, *, n: int, seed: int, overwrite: bool) -> None:
    from tqdm import tqdm

    from atomseg.io import write_scene

    missing = [index for index in range(n) if overwrite or not _folder(output, index).exists()]
    for index in tqdm(missing, unit="scene", dynamic_ncols=True, disable=None):
        write_scene(_scene(settings, seed, index), _folder(output, index), overwrite=overwrite)


def _folder(output: Path, index: int) -> Path:
    return output / f"scene_{index:04d}"


def _scene(settings: "SceneConfig", seed: int, index: int) -> "Scene":
    """One stream a scene, so that a scene does not depend on how many were asked for."""
    import numpy as np

    from atomseg.simulate import simulate

    return simulate(settings, np.random.default_rng([seed, index]), truth="full")


def _files(folder: Path) -> dict[str, bytes]:
    """Content of a scene folder; a folder below it, which no scene has, counts as different from everything."""
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}
