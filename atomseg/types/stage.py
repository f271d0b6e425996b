"""The base of every stage's settings."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Frozen settings of one stage.

    Plain dataclasses, so that training needs no validation library; `atomseg.config` reads them from YAML through
    pydantic, which honours `__pydantic_config__`: an unknown key is an error, never ignored.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
