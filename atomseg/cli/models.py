"""`atomseg models`: the released networks that can be found, and what they are."""

from typing import Annotated

import typer

from atomseg.cli.errors import one_line_errors


@one_line_errors
def models_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME|PATH]", help="Show the card of this model.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Run the model on its golden input and compare.")] = False,
) -> None:
    """List the models, show one's card, or check that it computes here what it computed when it was released."""
    from atomseg.networks import check_golden, list_models, load_model

    if name is None and not check:
        for known, folder in list_models().items():
            typer.echo(f"{known}  {folder}")
        return
    model = load_model(name, device="cpu")
    if not check:
        typer.echo(_card_text(model.card))
        return
    check_golden(model)
    typer.echo(f"{model.card.id}: output agrees with its golden file")


def _card_text(card: object) -> str:
    import dataclasses
    import json

    if not dataclasses.is_dataclass(card) or isinstance(card, type):
        return str(card)
    return json.dumps(dataclasses.asdict(card), indent=2, default=str, ensure_ascii=False)
