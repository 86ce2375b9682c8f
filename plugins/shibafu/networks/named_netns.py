"""Network namespaces as people name them: a path, a name under /run/netns, a process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from shibafu.networks.errors import CommandError
from shibafu.resource.netns import Netns

NAMED = ("/run/netns", "/var/run/netns")


def find_netns(text: str) -> str | None:
    """Return the path of a namespace that is called so; None when there is none.

    Args:
        text: a path, a name that `ip netns list` shows, or the number of a process.
    """
    if "/" in text:
        return os.path.abspath(text) if os.path.exists(text) else None
    for directory in NAMED:
        if os.path.exists(f"{directory}/{text}"):
            return f"{directory}/{text}"
    if text.isdecimal() and os.path.exists(f"/proc/{text}/ns/net"):
        return f"/proc/{text}/ns/net"
    return None


def require_netns(text: str) -> str:
    """Return the path of a namespace, see `find_netns`.

    Raises:
        CommandError: there is none.
    """
    path = find_netns(text)
    if path is not None:
        return path
    kind = "process" if text.isdecimal() else "network namespace"
    raise CommandError(
        f"there is no {kind} {text}",
        "name one that `ip netns list` shows, a path such as /run/netns/web, or a process ID; "
        "`ip netns add NAME` creates one",
    )


@contextmanager
def inside(path: str) -> Iterator[int]:
    """Enter the namespace at `path` and yield its descriptor; the thread returns at the end.

    Raises:
        CommandError: there is no namespace.
    """
    try:
        netns = Netns(path)
    except OSError as error:
        raise CommandError(
            f"{path} is not a network namespace: {(error.strerror or str(error)).lower()}"
        ) from None
    with netns, netns.entered():
        yield netns.descriptor


def is_in_netns(path: str, other: str = "/proc/self/ns/net") -> bool:
    """Return whether two paths are one namespace."""
    return os.path.samefile(path, other)
