"""What the processes of a container may do, found out once for a start: profiles are long."""

from dataclasses import dataclass
from typing import Any

from shibafu.container.capabilities import calc_capabilities
from shibafu.container.seccomp import load_seccomp
from shibafu.container.specification import Specification


@dataclass(frozen=True)
class Rights:
    """What a container's processes may do.

    Args:
        capabilities: of its root, as the kernel calls them.
        seccomp: its `linux.seccomp`; None when it may use all system calls.
    """

    capabilities: list[str]
    seccomp: dict[str, Any] | None


def calc_rights(spec: Specification) -> Rights:
    """Return a container's rights on this machine.

    Raises:
        ContainerError: they contradict each other, or there is no profile of system calls.
    """
    capabilities = calc_capabilities(spec.added, spec.dropped)
    return Rights(capabilities, load_seccomp(spec.seccomp, capabilities))
