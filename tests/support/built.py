"""The executables that packaging/build.sh makes."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the executables, made of the sources as they are now."""
    subprocess.run([ROOT / "packaging" / "build.sh"], check=True, timeout=600)
    return ROOT / "dist" / "shibafu"
