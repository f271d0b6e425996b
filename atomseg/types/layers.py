"""Layers: one row for every pair of successive TM rows, and the sequence that they make."""

from dataclasses import dataclass, field

# layers.csv
LAYER_FIELDS = (
    "row_lower",
    "row_upper",
    "domain",
    "position",
    "y_nm",
    "x_nm",
    "n_columns",
    "shift",
    "shift_err",
    "spacing_nm",
    "spacing_err_nm",
    "occupancy",
    "occupancy_err",
    "label",
    "overlap",
    "doubling",
    "doubling_err",
)
LAYER_LABELS = ("O3+", "O3-", "O1", "mixed", "alternating (H1-3)", "unresolved")


@dataclass(frozen=True)
class Stacking:
    """What the layers of one micrograph are together.

    Parameters
    ----------
    sequence : str
        The longest stack of layers in view, one letter a layer along the frame's normal: ``+`` and ``-`` for O3 of
        either sense, ``0`` for O1, ``a`` in an alternating sequence, ``x`` for mixed, ``?`` for unresolved.
    counts : dict
        Number of layers of each label.
    twins : int
        Changes of sense between layers of one stack that stand next to each other or have only O1 between them.
    overlap : int
        Layers whose shift is near a sixth, as two stackings on top of each other along the beam show.
    doubled : int
        Layers whose TM columns alternate in brightness along the row at three standard errors, as in spinel.
    """

    sequence: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    twins: int = 0
    overlap: int = 0
    doubled: int = 0
