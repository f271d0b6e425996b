"""Stacking of the layer table on ideal lattices whose stacking was drawn."""

import pytest

from atomseg.classify import ClassifyConfig, classify


@pytest.mark.parametrize("gaps", [set(), {0, 1}])
def test_layer_table_names_the_layers_that_were_drawn(maker, gaps):
    labels = [
        classify(*maker.build(maker.Lattice(sense=sense, o1_gaps=frozenset(gaps))), ClassifyConfig()).layers["label"]
        for sense in (1, -1)
    ]
    # O1 layers are as many as drawn, the others have one sign, which is opposite for the other stacking sense.
    assert [int((found == "O1").sum()) for found in labels] == [len(gaps)] * 2
    thirds = [set(found[found != "O1"]) for found in labels]
    assert sorted(map(sorted, thirds)) == [["O3+"], ["O3-"]]
