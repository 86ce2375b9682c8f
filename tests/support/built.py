"""The executables that packaging/build.sh makes."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build() -> Path:
    """Return the folder of the executables, made of the sources as they are now."""
    subprocess.run([ROOT / "packaging" / "build.sh"], check=True, timeout=600)
    return ROOT / "dist" / "shibafu"
