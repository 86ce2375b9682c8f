"""pip install: the slower way, for where nothing can be built."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dist.executables import PROGRAMS, ask_version
from support.built import ROOT


@pytest.mark.long
def test_console_scripts(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("plugins", "ipam"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    pip = venv / "bin" / "pip"
    install = [str(pip), "install", "--quiet", "--disable-pip-version-check", str(tree)]
    subprocess.run(install, check=True, timeout=300, cwd=tmp_path)
    for program in PROGRAMS:
        ask_version(venv / "bin" / program)
    # Without [command]: one sentence, and a command that helps.
    for words in ("network ls", "network apply -f networks.yaml", "ipam ls", "network create blue"):
        told = subprocess.run(
            [venv / "bin" / "shibafu", *words.split()],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert told.returncode == 1, words
        assert "needs the Python package" in told.stderr, words
        assert f"{venv}/bin/python" in told.stderr, words
        assert "-m pip install etcd3gw filelock pyroute2 pyyaml" in told.stderr, words
        assert "internal error" not in told.stderr, words
