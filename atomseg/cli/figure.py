"""`atomseg figure`: a figure for a paper from one to four results."""

from pathlib import Path
from typing import Annotated

import typer

from atomseg.cli.errors import one_line_errors
from atomseg.errors import UsageError

_FORMATS = ("pdf", "svg", "png")
_MOST = 4


@one_line_errors
def figure_command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT...", help="Result folders, one to four.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Figure to write: .pdf, .svg or .png (600 dpi).")
    ],
    title: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Above each micrograph; repeatable, in their order.")
    ] = None,
) -> None:
    """Draw results at the width of a journal page (183 mm), fonts embedded.

    One result: micrograph, phases and thickness profile. Two to four: micrograph and phases of each, side by side.
    """
    kind = output.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UsageError(f"figure {output}: the name has to end with .pdf, .svg or .png")
    if len(results) > _MOST:
        raise UsageError(f"{len(results)} results; up to {_MOST} are legible on the width of a page")
    titles = list(title or (folder.absolute().name for folder in results))
    if len(titles) != len(results):
        raise UsageError(f"{len(titles)} times --title for {len(results)} results; give one for each, or none")

    from atomseg.io import read_analysis, replace_file
    from atomseg.report import comparison_figure, paper_bytes, paper_figure

    records = [read_analysis(folder) for folder in results]
    figure = paper_figure(records[0], titles[0]) if len(records) == 1 else comparison_figure(records, titles)
    replace_file(output, paper_bytes(figure, kind))
