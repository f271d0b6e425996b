"""Fixtures that tests of several packages share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA_VARIABLE = "ATOMSEG_SHARED_DATA"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Top folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real and the multislice micrographs, which are too large for the repository."""
    folder = Path(os.environ.get(SHARED_DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real micrographs: there is no folder {folder}; name one with {SHARED_DATA_VARIABLE}")
    return folder.resolve()
