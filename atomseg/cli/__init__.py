"""The command line: `atomseg map | report | figure | simulate | train | evaluate | models`.

Nothing heavy is imported here: every command imports its stage when it runs, so that help starts at once.
"""

import typer

from atomseg._version import __version__
from atomseg.cli.evaluate import evaluate_command
from atomseg.cli.figure import figure_command
from atomseg.cli.map import map_command
from atomseg.cli.models import models_command
from atomseg.cli.report import report_command
from atomseg.cli.simulate import simulate_command
from atomseg.cli.train import train_command

__all__ = ["app", "main"]

app = typer.Typer(
    name="atomseg",
    help="Atomic columns, phases and reconstruction-layer thickness from HAADF-STEM micrographs of layered oxides.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("map")(map_command)
app.command("simulate")(simulate_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.command("figure")(figure_command)
app.command("evaluate")(evaluate_command)
app.command("models")(models_command)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"atomseg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Columns, phases and reconstruction thickness from HAADF-STEM micrographs of layered oxides."""


def main() -> None:
    """Entry point of the `atomseg` command."""
    app()
