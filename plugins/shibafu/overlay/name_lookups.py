"""Looking up the names of etcd's members, without waiting for as long as resolv.conf(5) allows.

getaddrinfo(3) waits 5 seconds for each server, twice, and again for each domain to be searched, and cannot be
interrupted. Threads wait for it, of all names at once, and others wait for these threads a few seconds only.
"""

import socket
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from threading import Event, Thread

# Seconds that lookups may take.
PATIENCE = 3.0


class NameLookups:
    """Lookups of some names, which begin when the first of them is needed.

    Args:
        names: the names; addresses need none.
        resolve: looks a name up; raises OSError.
    """

    def __init__(self, names: Iterable[str], resolve: Callable[[str], object] | None = None) -> None:
        self._names = frozenset(name for name in names if not _is_address(name))
        self._resolve = resolve or _resolve
        self._lookups: dict[str, _Lookup] = {}

    def find_failure(self, name: str) -> str:
        """Return why a name leads nowhere, in words; empty if it does not, or has not been looked up here."""
        if name not in self._names:
            return ""
        if name not in self._lookups:
            for one in (name,) if self._lookups else self._names:
                self._lookups[one] = _Lookup(one, self._resolve)
        lookup = self._lookups[name]
        if not lookup.wait():
            # One that goes on is not begun a second time.
            return f"the name {name} has not been resolved within {PATIENCE:.0f} seconds"
        if lookup.failure:
            self.forget(name)
            return f"the name {name} cannot be resolved: {lookup.failure}"
        return ""

    def forget(self, name: str) -> None:
        """Have a name looked up again the next time, unless it is being looked up."""
        lookup = self._lookups.get(name)
        if lookup is not None and lookup.is_done:
            self._lookups.pop(name, None)


class _Lookup:
    """A lookup, which has begun.

    Args:
        name: which name.
        resolve: see `NameLookups`.

    Attributes:
        failure: why it has failed, in words; empty if it has not, or goes on.
    """

    def __init__(self, name: str, resolve: Callable[[str], object]) -> None:
        self.failure = ""
        self._deadline = time.monotonic() + PATIENCE
        self._done = Event()
        Thread(target=self._run, args=(name, resolve), daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    def wait(self) -> bool:
        """Wait for its end, until the time is up; return whether it has ended."""
        return self._done.wait(max(0.0, self._deadline - time.monotonic()))

    def _run(self, name: str, resolve: Callable[[str], object]) -> None:
        try:
            resolve(name)
        except OSError as error:
            self.failure = str(error.strerror or error).lower()
        except UnicodeError:
            self.failure = "it is not a name"  # longer than one can be
        finally:
            self._done.set()


def _resolve(name: str) -> None:
    socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
