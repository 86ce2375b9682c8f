"""Another network namespace at the path of one that is deleted, with its inode number or with another one."""

import os
import subprocess
from pathlib import Path

from shibafu_ipam.index_records import IndexRecords
from support.namespaces import Namespace


class Replacement:
    """Replaces namespaces.

    Args:
        has_same_inode: whether the other one has the number of the first. The kernel gives the lowest free
            number of the whole machine to the next namespace of any kind, for which a test cannot wait: it is
            what is remembered of the first that gets the number of the other. The cookies are the kernel's.
    """

    def __init__(self, has_same_inode: bool) -> None:
        self.has_same_inode = has_same_inode

    def replace(self, namespace: Namespace, *remembered: Path) -> None:
        """Delete a namespace without a word, and have another one at its path.

        Args:
            namespace: the namespace.
            remembered: directories of records, results and leases.
        """
        before = os.stat(namespace.path).st_ino
        with Namespace("replacement") as other:
            namespace.delete()
            Path(namespace.path).touch()
            subprocess.run(["mount", "--bind", other.path, namespace.path], check=True)
        if self.has_same_inode and remembered:
            after = os.stat(namespace.path).st_ino
            assert sum(_renumber(directory, before, after) for directory in remembered)


def _renumber(directory: Path, before: int, after: int) -> int:
    """Change a number in what is remembered below a directory; return how many times it was there."""
    changed = 0
    for path in directory.rglob("*"):
        if path.is_dir() and path.name == "records":
            records = IndexRecords(str(path))
            found = list(records.read_all().values())
            for record in found:
                changed += f"@{before}." in record.view
                record.view = record.view.replace(f"@{before}.", f"@{after}.")
            records.replace_all(found)
        elif path.is_file() and path.parent.name != "records":
            text = path.read_bytes()
            changed += f'"inode": {before},'.encode() in text
            path.write_bytes(text.replace(f'"inode": {before},'.encode(), f'"inode": {after},'.encode()))
    return changed
