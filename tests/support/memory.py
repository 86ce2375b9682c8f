"""How much memory a process has."""

from pathlib import Path


def read_memory(pid: int, kind: str) -> int:
    """Return a sum of /proc/PID/smaps_rollup, such as Pss, in bytes; see proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))
