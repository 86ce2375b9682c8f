"""The switch by which the kernel passes over routes through a link without a carrier.

    /run/shibafu/watch/<inode of the host's namespace>.routers

remembers what it was before, so that it can be put back, also by the next watcher.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.lean.sysctl import read_sysctl, write_sysctl
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_ROOT = "/run/shibafu"
_DIRECTORY = f"{_ROOT}/watch"
_LARGEST = 1 << 20
_ON = "1"
_PROTOCOLS = {4: "ipv4", 6: "ipv6"}

# `ipv4` or `ipv6`, and the name of a link.
Switch = tuple[str, str]


class LinkdownSwitches:
    """The switches `ignore_routes_with_linkdown` of links.

    Only links' own: those of all links would be others', too.

    Raises:
        CniError: others could have forged the record.
        OSError: it cannot be read.
    """

    def __init__(self) -> None:
        secure_directories(_ROOT, _DIRECTORY)
        self._path = f"{_DIRECTORY}/{os.stat('/proc/self/ns/net').st_ino}.routers"
        record = _parse_record(read_file(self._path, _LARGEST))
        # Whether there is a record: that routes and switches have been changed.
        self.is_in_use = record is not None
        self._former: dict[Switch, str] = record or {}

    def begin(self) -> None:
        """Record that something is going to be changed."""
        if not self.is_in_use:
            self.is_in_use = True
            self._write()

    def is_on(self, version: int, link: str) -> bool:
        """Return whether a switch is as it has to be; one that the kernel does not have is."""
        try:
            return read_sysctl(_calc_path((_PROTOCOLS[version], link))) == _ON
        except FileNotFoundError:
            return True

    def turn_on(self, version: int, link: str) -> None:
        """Set a switch, after recording what it was.

        Raises:
            OSError: it cannot be written.
        """
        switch = (_PROTOCOLS[version], link)
        if switch not in self._former:
            self._former[switch] = read_sysctl(_calc_path(switch))
            self._write()
        write_sysctl(_calc_path(switch), _ON)

    def restore(self, besides: "Collection[tuple[int, str]]" = ()) -> list[str]:
        """Put back what links had; forget those that are gone, or that others have changed since.

        Args:
            besides: IP's version and the link of those that stay.

        Returns:
            The links.
        """
        kept = {(_PROTOCOLS[version], link) for version, link in besides}
        gone = [switch for switch in self._former if switch not in kept]
        for switch in gone:
            path = _calc_path(switch)
            try:
                if read_sysctl(path) == _ON:
                    write_sysctl(path, self._former[switch])
            except FileNotFoundError:
                pass
            del self._former[switch]
        if gone:
            self._write()
        return sorted({link for _, link in gone})

    def end(self) -> None:
        """Forget the record: nothing is changed any more."""
        self.is_in_use = False
        remove_file(self._path)

    def _write(self) -> None:
        switches = {"/".join(switch): value for switch, value in self._former.items()}
        make_directory(_DIRECTORY, 0o755)
        replace_file(self._path, dumps({"netns": calc_mark(), "switches": switches}).encode())


def _parse_record(content: bytes | None) -> dict[Switch, str] | None:
    """Return the switches of a record; None if there is none, or it is of another namespace."""
    try:
        record = loads(content or b"")
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("netns") != calc_mark():
        return None
    switches = record.get("switches")
    found: dict[Switch, str] = {}
    for name, value in switches.items() if isinstance(switches, dict) else ():
        protocol, _, link = name.partition("/")
        if protocol in _PROTOCOLS.values() and link and "/" not in link and value in ("0", "1"):
            found[protocol, link] = value
    return found


def _calc_path(switch: Switch) -> str:
    return "/proc/sys/net/{}/conf/{}/ignore_routes_with_linkdown".format(*switch)
