"""How much of the kernel's resources a process of a container may use: getrlimit(2)."""

import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shibafu.container.errors import ContainerError
from shibafu.container.privileges import read_capabilities

NAMES = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
# Podman's, containers.conf(5); other limits are those of this process.
DEFAULT = {"nofile": 1 << 20, "nproc": 1 << 22}
_NUMBERS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
# What the runtime specification says for no limit: RLIM64_INFINITY, linux/resource.h.
UNLIMITED = (1 << 64) - 1
_NR_OPEN = Path("/proc/sys/fs/nr_open")


def parse_limits(texts: Sequence[str]) -> dict[str, list[int]]:
    """Return soft and hard limits by their names in setrlimit(2), in small letters without RLIMIT_.

    Args:
        texts: `NAME=SOFT[:HARD]`; -1 or `unlimited` for no limit. Of two for one name the last counts.

    Raises:
        ContainerError: a text is none.
    """
    limits = {}
    for text in texts:
        name, _, values = text.partition("=")
        soft, colon, hard = values.partition(":")
        if name not in NAMES:
            raise ContainerError(
                f'unknown resource limit "{name}"', "use one from setrlimit(2), such as nofile=1024:4096"
            )
        try:
            limits[name] = [_parse_value(soft), _parse_value(hard if colon else soft)]
        except ValueError:
            raise ContainerError(
                f'"{text}" is not a resource limit',
                f"write {name}=SOFT or {name}=SOFT:HARD with whole numbers",
            ) from None
        if limits[name][0] > limits[name][1]:
            raise ContainerError(f'the soft limit in "{text}" is above the hard one', "exchange them")
    return limits


def calc_rlimits(asked: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return `process.rlimits`: what was asked for, and the default of the rest as far as it can be had.

    Without CAP_SYS_RESOURCE this process's own hard limit is the highest that there is.

    Args:
        asked: as `parse_limits` returns them.
    """
    is_free = "CAP_SYS_RESOURCE" in read_capabilities("CapEff")
    limits = {name: list(values) for name, values in asked.items()}
    for name, default in DEFAULT.items():
        highest = default
        _, hard = resource.getrlimit(_NUMBERS[name])
        if not is_free and hard != resource.RLIM_INFINITY:
            highest = min(highest, hard)
        if name == "nofile":
            # No process has a higher one, whatever its rights are.
            highest = min(highest, int(_NR_OPEN.read_text(encoding="ascii")))
        limits.setdefault(name, [highest, highest])
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
        for name, (soft, hard) in sorted(limits.items())
    ]


def _parse_value(word: str) -> int:
    if word in ("-1", "unlimited"):
        return UNLIMITED
    if not (word.isascii() and word.isdigit()) or int(word) > UNLIMITED:
        raise ValueError(word)
    return int(word)
