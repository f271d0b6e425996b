"""`atomseg simulate`: micrographs with their exact truth."""

from pathlib import Path
from typing import Annotated

import typer

from atomseg.cli.errors import one_line_errors
from atomseg.errors import UsageError


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
    import numpy as np
    from tqdm import tqdm

    from atomseg.batch import prepare_output
    from atomseg.config import load_simulation_config
    from atomseg.io import write_scene
    from atomseg.simulate import simulate

    settings = load_simulation_config(config or "crystal")
    if cif is not None and zone is not None:
        settings = settings.of_crystal(cif, zone)
    folders = [output / f"scene_{index:04d}" for index in range(n)]
    there = [folder for folder in folders if folder.exists()]
    if there and not overwrite:
        raise UsageError(f"{there[0]} is already there; give --overwrite to replace it, or another output folder")
    prepare_output(output)
    for index, folder in enumerate(tqdm(folders, unit="scene", dynamic_ncols=True, disable=None)):
        # One stream a scene, so that a scene does not depend on how many were asked for.
        rng = np.random.default_rng([seed, index])
        write_scene(simulate(settings, rng, truth="full"), folder, overwrite=overwrite)
    typer.echo(f"{n} scene{'s' if n > 1 else ''} in {output}")
