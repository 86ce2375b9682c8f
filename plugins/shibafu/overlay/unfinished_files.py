"""What a process leaves in a file's directory that was killed while it wrote that; see `replace_file`."""

import os

from shibafu.lean.files import remove_file


def remove_unfinished(path: str) -> None:
    """Remove what processes that are gone have begun to write, to replace a file with.

    Args:
        path: the file, which is left alone.

    Raises:
        OSError: its directory cannot be read, or something in it not be removed.
    """
    directory, name = os.path.split(path)
    try:
        entries = os.listdir(directory or ".")
    except FileNotFoundError:
        return
    for entry in entries:
        begin, marker, pid = entry.rpartition(".new-")
        # Agents of other namespaces may be writing theirs.
        if marker and begin == name and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            remove_file(os.path.join(directory, entry))
