"""`atomseg evaluate`: results compared with the truth of simulated scenes."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from atomseg.cli.errors import EXIT_FAILED, one_line_errors
from atomseg.errors import UsageError

# What the table shows; --json has everything.
_HEADLINES = {
    "n_required": "columns",
    "f1_50pm": "F1@50pm",
    "rmse_pm": "rmse_pm",
    "coverage90": "cover90",
    "mean_iou": "mean_iou",
    "abstention": "abstain",
    "thickness_true_nm": "true_nm",
    "thickness_nm": "found_nm",
    "thickness_inside": "inside",
    "class_right": "class",
    "censoring_right": "censoring",
}


@one_line_errors
def evaluate_command(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder written by `atomseg map`.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder written by `atomseg simulate`.")],
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers here too.")] = None,
) -> None:
    """Compare results with truth: columns found, position errors, phases, thickness.

    RESULTS and TRUTH are one result and its scene, or two folders in which RESULTS/<scene>/image belongs to
    TRUTH/<scene>, as `atomseg map TRUTH -o RESULTS` writes them. Exit code 1 when a scene has no result.
    """
    from tqdm import tqdm

    from atomseg.evaluate import evaluate
    from atomseg.io import read_analysis, read_scene

    pairs, missing = pair_results(results, truth)
    told: dict[str, Any] = {}
    for name, (result, scene) in tqdm(pairs.items(), unit="scene", dynamic_ncols=True, disable=None):
        told[name] = plain_numbers(evaluate(read_analysis(result), read_scene(scene)))
    typer.echo(as_table(told))
    if json_ is not None:
        json_.write_text(json.dumps({"scenes": told, "missing": missing}, indent=2, allow_nan=False), encoding="utf-8")
    for name in missing:
        typer.echo(f"missing: no result for {name}", err=True)
    if missing:
        raise typer.Exit(EXIT_FAILED)


def pair_results(results: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Result and scene folders by scene name, and the scenes without a result."""
    for folder in (results, truth):
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder")
    scenes = sorted(file.parent for file in truth.rglob("truth.json"))
    if not scenes:
        raise UsageError(f"{truth} holds no truth.json; give a folder written by `atomseg simulate`")
    pairs: dict[str, tuple[Path, Path]] = {}
    missing: list[str] = []
    for scene in scenes:
        relative = scene.relative_to(truth)
        candidates = (results / relative / "image", results / relative)
        found = next((folder for folder in candidates if (folder / "summary.json").is_file()), None)
        name = relative.as_posix() if relative.parts else scene.name
        if found is None:
            missing.append(name)
        else:
            pairs[name] = (found, scene)
    return pairs, missing


def plain_numbers(evaluation: Any) -> dict[str, Any]:
    """An evaluation as JSON-ready mapping; a number that does not exist (no surface, no match) is null."""
    import dataclasses
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if hasattr(value, "tolist"):
            return plain(value.tolist())
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return dict(plain(dataclasses.asdict(evaluation)))


def as_table(told: dict[str, dict[str, Any]]) -> str:
    """Scenes as rows and the headline numbers as columns; a dash where there is nothing to compare."""
    lines = [["scene", *_HEADLINES.values()]]
    lines += [[name, *(_cell(numbers[key]) for key in _HEADLINES)] for name, numbers in told.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
