"""`atomseg train`: a network trained on scenes that are simulated on the fly."""

from pathlib import Path
from typing import Annotated

import typer

from atomseg.cli.errors import EXIT_INTERRUPTED, one_line_errors
from atomseg.errors import UsageError


@one_line_errors
def train_command(  # noqa: PLR0917 - Typer reads the options off the signature
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped one, e.g. laptop.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for checkpoints, logs and pictures.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in OUT.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="NAME|PATH", help="Fine-tune this model instead of a new network.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Own images to learn from: simulated scenes, or NAME.tif with NAME.csv."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the result as a model folder, for atomseg map --model.")
    ] = None,
) -> None:
    """Train a network; progress, checkpoints, TensorBoard and CSV logs and pictures of its predictions go to OUT."""
    from importlib.util import find_spec

    missing = [name for name in ("lightning", "torchvision") if find_spec(name) is None]
    if missing:
        raise UsageError(f"training needs {' and '.join(missing)}; install them with: pip install 'atomseg[train]'")

    from atomseg.analysis import checkout_commit
    from atomseg.batch import prepare_output
    from atomseg.config import load_train_config
    from atomseg.io import read_training_folder
    from atomseg.networks import load_model
    from atomseg.train import is_first_process, last_checkpoint, release, train

    settings, simulation = load_train_config(config)
    # With several GPUs Lightning says this command again for each of them, when the folder is there already.
    first_process = is_first_process()
    if first_process and output.is_dir() and any(output.iterdir()) and not resume:
        raise UsageError(f"{output} is not empty; give --resume to go on with the run in it, or another folder")
    if first_process and model is not None and model.exists():
        raise UsageError(f"{model} exists and models are never changed; give another folder to --model")
    first = None if start is None else load_model(start, device="cpu")
    own = () if scenes is None else read_training_folder(scenes)
    prepare_output(output)
    try:
        checkpoint = train(settings, simulation=simulation, output=output, resume=resume, start=first, scenes=own)
    except KeyboardInterrupt:
        kept = last_checkpoint(output).is_file()
        told = f"add --resume to go on from the last checkpoint in {output}" if kept else "there was no checkpoint yet"
        typer.echo(f"interrupted; {told}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not first_process:
        return
    typer.echo(f"trained; last checkpoint {checkpoint}")
    if model is not None:
        card = release(checkpoint, model, simulation=simulation, commit=checkout_commit() or "installed")
        typer.echo(f"model {card.id} in {model}: F1 {card.accuracy['f1_50pm']:.3f} on simulated scenes")
