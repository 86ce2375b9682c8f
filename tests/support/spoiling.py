"""What may be in the cache of results in place of one."""

import json
import os
from pathlib import Path

KINDS = ["fields", "deep", "fifo", "link", "linked"]


def spoil_result(path: Path, kind: str, outside: Path) -> None:
    """Put something else in place of a cached result.

    Args:
        path: the cached result.
        kind: one of KINDS.
        outside: a file that must not be touched, to which some of them lead.
    """
    document = json.loads(path.read_text())
    path.unlink()
    if kind == "fields":
        args = [["IP", "10.66.0.9;K=1"], ["K\n", "\n"], ["=", "="]]
        changes = {"netns": str(outside), "cniArgs": args, "result": {"cniVersion": "1.0.0", "ips": 7}}
        path.write_text(json.dumps(document | changes))
    elif kind == "deep":
        path.write_text("[" * 200_000)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(outside if kind == "linked" else "/nonexistent")
