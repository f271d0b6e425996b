"""Analysis against truth: columns matched one to one, positions, phases, thickness."""

from atomseg.evaluate.match import match_columns
from atomseg.evaluate.stage import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate", "match_columns"]
