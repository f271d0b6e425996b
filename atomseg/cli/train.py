"""`atomseg train`: a network trained on scenes that are simulated on the fly."""

from pathlib import Path
from typing import Annotated

import typer

from atomseg.cli.errors import one_line_errors
from atomseg.errors import UsageError


@one_line_errors
def train_command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped one, e.g. laptop.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for checkpoints, logs and pictures.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
) -> None:
    """Train a network; progress, checkpoints, TensorBoard and CSV logs and pictures of its predictions go to OUT."""
    from importlib.util import find_spec

    missing = [name for name in ("lightning", "torchvision") if find_spec(name) is None]
    if missing:
        raise UsageError(f"training needs {' and '.join(missing)}; install them with: pip install 'atomseg[train]'")

    from atomseg.batch import prepare_output
    from atomseg.config import load_train_config
    from atomseg.train import train

    settings, simulation = load_train_config(config)
    if output.is_dir() and any(output.iterdir()) and not resume:
        raise UsageError(f"{output} is not empty; give --resume to go on with the run in it, or another folder")
    prepare_output(output)
    checkpoint = train(settings, simulation=simulation, output=output, resume=resume)
    typer.echo(f"trained; last checkpoint {checkpoint}")
