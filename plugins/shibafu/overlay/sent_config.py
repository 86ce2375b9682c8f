"""What was sent to the delegate, kept for its DEL: one file for each attachment.

So a container goes as it came, whatever the subnet file and the configuration say by then. flannel's plugin
has the same files, but one for each container, which those of its second interface overwrite.
"""

import os

from shibafu.cni.config import parse_config
from shibafu.cni.directories import make_directory, secure_given_directory
from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_digest
from shibafu.lean.files import NotRegularError, read_file, remove_file, write_file
from shibafu.lean.json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shibafu.cni.request import Request

_MAX_SIZE = 1 << 20


class SentConfig:
    """The file of one attachment.

    Args:
        data_dir: the directory.
        request: the call.
    """

    __slots__ = ("_aside", "_data_dir", "_flannels", "_former", "_network", "_path")

    def __init__(self, data_dir: str, request: "Request") -> None:
        name = _calc_name(request.container_id, request.ifname)
        self._data_dir = data_dir
        self._network = request.network
        self._path = f"{data_dir}/{name}"
        self._aside = f"{data_dir}/{_calc_prefix(request.network)}{name}"
        self._flannels = f"{data_dir}/{request.container_id}"
        self._former: bytes | None = None

    def read(self) -> dict[str, object] | None:
        """Return what was sent, by flannel's plugin if not by this one; None where nothing is known of it.

        Raises:
            OSError: the file cannot be read.
        """
        for path in (self._path, self._flannels):
            values = _read(path)
            if values.get("name") == self._network:
                return values
        return None

    def write(self, values: dict[str, object]) -> None:
        """Write what is about to be sent; it appears whole or not at all.

        Raises:
            OSError, CniError: it cannot be written, or anybody could write it.
        """
        make_directory(self._data_dir, 0o700)
        secure_given_directory(self._data_dir)
        self._former = read_file(self._path, _MAX_SIZE)
        self._put(dumps(values).encode())

    def restore(self) -> None:
        """Make it what it was before `write`: the delegate has left nothing, or only what was there.

        Raises:
            OSError: it cannot be written.
        """
        if self._former is None:
            remove_file(self._path)
        else:
            self._put(self._former)

    def remove(self) -> None:
        """Remove it, and what a call that was killed has left of it.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._aside)
        if not remove_file(self._path) and _read(self._flannels).get("name") == self._network:
            remove_file(self._flannels)

    def _put(self, content: bytes) -> None:
        write_file(self._aside, content)
        os.rename(self._aside, self._path)


def list_stale(
    data_dir: str, network: str, valid: "Iterable[tuple[str, str]]"
) -> "Iterator[tuple[str, dict[str, object]]]":
    """Yield the files of a network's attachments that are not valid any more, and what was sent.

    Args:
        data_dir: the directory.
        network: the network.
        valid: container ID and interface of those that are.
    """
    try:
        names = os.listdir(data_dir)
    except (FileNotFoundError, NotADirectoryError):
        return
    valid = list(valid)
    kept = {_calc_name(*one) for one in valid} | {container_id for container_id, _ in valid}
    prefix = _calc_prefix(network)
    for name in names:
        if name.startswith(prefix):
            yield f"{data_dir}/{name}", {}
        elif name not in kept:
            values = _read(f"{data_dir}/{name}")
            if values.get("name") == network:
                yield f"{data_dir}/{name}", values


def _calc_name(container_id: str, ifname: str) -> str:
    return f"{container_id}-{ifname}"


def _calc_prefix(network: str) -> str:
    """Return what the name of a network's file begins with while it is written."""
    return f".{calc_digest(network, size=8)}-"


def _read(path: str) -> dict[str, object]:
    """Return what a file says; nothing if there is none, or it is invalid."""
    try:
        content = read_file(path, _MAX_SIZE)
        return parse_config(content).values if content else {}
    except (CniError, NotRegularError):
        return {}
