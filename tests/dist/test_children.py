"""Other plugins get the environment that the caller gave, whatever the interpreter does to its own."""

import shutil
from pathlib import Path

import pytest

from support.children import attach_and_detach


@pytest.mark.root
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"LD_LIBRARY_PATH": "/opt/lib:/nonexistent", "LD_LIBRARY_PATH_ORIG": "the caller's own"},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_CTYPE": "POSIX", "LANG": "de_DE.UTF-8"},
        {"LC_CTYPE": "tr_TR.ISO-8859-9"},
        {"LC_CTYPE": "C", "LONG": "x" * 100_000},
    ],
    ids=lambda extra: ",".join(f"{name}={value[:20]}" for name, value in extra.items()) or "none",
)
def test_environment_of_a_delegated_plugin(built: Path, tmp_path: Path, extra: dict[str, str]) -> None:
    for env, seen in attach_and_detach(built / "shibafu-bridge", tmp_path / "dump-environ", **extra):
        # What keeps a plugin from being its own delegate.
        assert seen == env | {"SHIBAFU_DELEGATE": "dump-environ"}


@pytest.mark.root
def test_what_is_beside_a_copy_is_not_taken_for_ours(built: Path, tmp_path: Path) -> None:
    """It may be of another version, or of somebody else; ours is called as a function."""
    copy = shutil.copy(built / "shibafu-bridge", tmp_path)
    assert len(list(attach_and_detach(Path(copy), tmp_path / "shibafu-ipam"))) == 2
