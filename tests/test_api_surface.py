"""The public names and signatures; a change here is a change for users, and has to be made on purpose.

After such a change ``python tests/test_api_surface.py`` writes the inventory again, and the changelog tells of it.
"""

import dataclasses
import importlib
import inspect
import json
from pathlib import Path

INVENTORY = Path(__file__).with_name("api_surface.json")
MODULES = (
    "atomseg",
    "atomseg.config",
    "atomseg.types",
    "atomseg.errors",
    "atomseg.io",
    "atomseg.simulate",
    "atomseg.infer",
    "atomseg.localize",
    "atomseg.classify",
    "atomseg.measure",
    "atomseg.evaluate",
    "atomseg.cohort",
    "atomseg.networks",
    "atomseg.report",
)


def _members(thing: type) -> list[str]:
    fields = [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else []
    methods = [name for name, value in vars(thing).items() if not name.startswith("_") and name not in fields]
    return sorted(fields) + sorted(name for name in methods if not isinstance(vars(thing)[name], type))


def _describe(thing: object) -> object:
    if inspect.isclass(thing):
        return _members(thing)
    if inspect.isroutine(thing):
        return [
            f"*, {p.name}" if p.kind is p.KEYWORD_ONLY else p.name for p in inspect.signature(thing).parameters.values()
        ]
    return type(thing).__name__


def public_names(module: str) -> dict[str, object]:
    """Names of a module without its submodules, each with its members or parameters."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    ]
    return {name: _describe(getattr(found, name)) for name in sorted(names)}


def test_public_names_are_the_inventory() -> None:
    written = json.loads(INVENTORY.read_text(encoding="utf-8"))
    assert set(written) == set(MODULES)
    for module in MODULES:
        assert public_names(module) == written[module], f"{module} changed; see the top of this file"


if __name__ == "__main__":
    surface = {module: public_names(module) for module in MODULES}
    INVENTORY.write_text(json.dumps(surface, indent=1) + "\n", encoding="utf-8")
