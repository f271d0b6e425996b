"""Tables of hand-labelled columns, as spreadsheets in different countries write them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from atomseg.io import read_labelled


@pytest.mark.parametrize(
    "text",
    [
        "y_px,x_px\n1.5,2.25\n30,40\n",
        "y_px;x_px\n1.5;2.25\n30;40\n",
        "y_px;x_px\n1,5;2,25\n30;40\n",
        "\ufeffy_px;x_px;note\n1,5;2,25;left, dim\n30;40;\n",
        "id\ty_px\tx_px\n0\t1.5\t2.25\n1\t30\t40\n",
        "x_px, y_px\n2.25, 1.5\n40, 30\n",
    ],
)
def test_a_spreadsheets_separators_are_read(tmp_path: Path, counts: np.ndarray, text: str) -> None:
    image = tmp_path / "a.tif"
    tifffile.imwrite(image, counts, imagej=True, resolution=(40, 40), metadata={"unit": "nm", "axes": "YX"})
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert read_labelled(image, tmp_path / "a.csv").columns.yx_px.tolist() == [[1.5, 2.25], [30.0, 40.0]]
