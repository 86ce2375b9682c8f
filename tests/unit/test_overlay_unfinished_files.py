"""What processes leave next to a file that were killed while they wrote it."""

import os
from pathlib import Path

from shibafu.overlay.unfinished_files import remove_unfinished

# Of no process: numbers are at most 2^22.
GONE = 1 << 23


def test_what_the_dead_have_begun_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "blue.json"
    kept = [
        "blue.json",
        f"blue.json.new-{os.getpid()}",
        "blue.json.new-",
        "blue.json.new-one",
        f"red.json.new-{GONE}",
        f"blue.json.old-{GONE}",
    ]
    for name in (*kept, f"blue.json.new-{GONE}", f"blue.json.new-{GONE + 1}"):
        (tmp_path / name).touch()
    remove_unfinished(str(path))
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(kept)


def test_there_is_no_directory_yet(tmp_path: Path) -> None:
    remove_unfinished(str(tmp_path / "absent" / "blue.json"))
