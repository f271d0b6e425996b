"""Where and when a benchmark ran: what a number needs so that another one can be held against it."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"


def circumstances() -> dict[str, Any]:
    """Machine, versions, commit, command and date."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "commit": commit(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "load_average_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "packages": {name: installed(name) for name in ("atomseg", "torch", "numpy", "scipy", "pandas")},
    }


def command() -> str:
    """What was run; of folders outside the checkout only the name, since they lie elsewhere on other machines."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", Path(sys.argv[0]).resolve().relative_to(REPOSITORY).as_posix(), *words])


def commit() -> str | None:
    """Commit of the checkout, with ``+`` when tracked files of the package differ from it; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno", "atomseg") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """Name of the processor."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def write_json(name: str, numbers: Mapping[str, Any]) -> Path:
    """Write numbers and circumstances to ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = json.dumps({**numbers, "run": circumstances()}, indent=2, allow_nan=False)
    path.write_text(content + "\n", encoding="utf-8")
    return path
