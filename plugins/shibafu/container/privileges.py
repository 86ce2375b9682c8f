"""What the processes of a container may do: capabilities, and system calls; found out once for a start."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shibafu.container.errors import ContainerError
from shibafu.container.seccomp import load_seccomp
from shibafu.container.specification import Specification

# In the kernel's order, linux/capability.h.
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
"""
# Podman's, containers.conf(5).
_DEFAULT = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
NAMES, DEFAULT = (tuple(f"CAP_{name}" for name in names.split()) for names in (_NAMES, _DEFAULT))
_ALL = "ALL"


def parse_capabilities(words: Sequence[str]) -> list[str]:
    """Return capabilities as the kernel calls them, or ALL.

    Args:
        words: names with or without CAP_, in any case; several may be separated by commas.

    Raises:
        ContainerError: there is none of that name.
    """
    names = []
    for word in (piece.strip() for text in words for piece in text.split(",")):
        name = word.upper()
        if name != _ALL and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != _ALL and name not in NAMES:
            raise ContainerError(
                f'unknown capability "{word}"', "use a name from capabilities(7), such as NET_RAW, or ALL"
            )
        names.append(name)
    return names


def calc_capabilities(added: Sequence[str], dropped: Sequence[str]) -> list[str]:
    """Return what a container may do: the default and what is added, without what is dropped.

    Args:
        added: as `parse_capabilities` returns them; ALL adds all that this process could have.
        dropped: likewise; ALL leaves only what is added.

    Raises:
        ContainerError: one is both added and dropped.
    """
    both = [name for name in added if name in dropped]
    if both:
        raise ContainerError(f"{both[0]} is both added and dropped", "omit --cap-add or --cap-drop")
    base = () if _ALL in dropped else read_capabilities("CapBnd") if _ALL in added else DEFAULT
    return [name for name in NAMES if name in added or (name in base and name not in dropped)]


def read_capabilities(kind: str) -> list[str]:
    """Return a set of this process's capabilities.

    Args:
        kind: its name in proc(5), such as CapEff; CapBnd is what the process could give.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    mask = int(status.partition(f"{kind}:")[2].split()[0], 16)
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


@dataclass(frozen=True)
class Privileges:
    """What a container's processes may do.

    Args:
        capabilities: of its root, as the kernel calls them.
        seccomp: its `linux.seccomp`; None when it may use all system calls.
    """

    capabilities: list[str]
    seccomp: dict[str, Any] | None


def calc_privileges(spec: Specification) -> Privileges:
    """Return a container's rights on this machine.

    Raises:
        ContainerError: they contradict each other, or there is no profile of system calls.
    """
    capabilities = calc_capabilities(spec.added, spec.dropped)
    return Privileges(capabilities, load_seccomp(spec.seccomp, capabilities))
