"""What an interface was like before: one file for each attachment, in the reference's format.

So either program's DEL restores what the other's ADD has changed. `network` and `netns` are keys of our own,
which the reference passes over: for GC, and to leave another namespace's interface of that name alone.
"""

import os

from shibafu.cni.directories import make_directory, secure_given_directory
from shibafu.cni.names import calc_digest
from shibafu.lean.files import NotRegularError, read_file, remove_file, write_file
from shibafu.lean.ip import parse_mac
from shibafu.lean.json import dumps, loads
from shibafu.resource.base import INSIDE, Fault, Resource
from shibafu.tuning.attributes import Attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.netns import Netns
    from shibafu.resource.view import View

_MAX_SIZE = 1 << 14
_SUFFIX = ".json"


class Backup(Resource):
    """The file of one attachment.

    Args:
        data_dir: the directory.
        container_id: the container.
        ifname: its interface.
        network: the network's name.
        netns: the container's namespace; None when it is gone.
        wanted: the attributes that are to be changed.
    """

    __slots__ = ("_aside", "_data_dir", "_ifname", "_netns", "_network", "_path", "_wanted", "former")
    medium = INSIDE
    is_inside = True

    def __init__(
        self,
        data_dir: str,
        container_id: str,
        ifname: str,
        network: str,
        netns: "Netns | None",
        wanted: Attributes,
    ) -> None:
        self._data_dir = data_dir
        name = calc_backup_name(container_id, ifname)
        self._path = f"{data_dir}/{name}"
        self._aside = f"{data_dir}/{_calc_prefix(network)}{name}"
        self._ifname = ifname
        self._network = network
        self._netns = netns
        self._wanted = wanted
        # What the interface is to be like again.
        self.former = Attributes()

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"file {self._path}"

    def faults(self, view: "View") -> list[Fault]:
        """Return nothing: without it there is nothing that DEL has to restore."""
        return []

    def ensure(self, view: "View") -> bool:
        """Write what the interface is like, unless nothing is to be changed.

        Behind another plugin of this kind the file is there, with what came before that.

        Raises:
            OSError, CniError: it cannot be written, or anybody could write it.
        """
        link = view.link(self._ifname)
        if link is None or not self._wanted or self._netns is None:
            return False  # the interface itself says what is missing
        self.former = Attributes.of_link(link).select(self._wanted)
        make_directory(self._data_dir, 0o700)
        secure_given_directory(self._data_dir)
        document = _read(self._path)
        is_new = document.get("netns") != self._describe_netns()
        if not is_new:
            self.former.update(_parse(document))
        document = _render(self.former) | {"network": self._network, "netns": self._describe_netns()}
        # It appears whole or not at all: what is in it tells GC whose it is.
        write_file(self._aside, dumps(document).encode())
        os.rename(self._aside, self._path)
        return is_new

    def load(self) -> None:
        """Read what was written, if it is of this namespace."""
        document = _read(self._path)
        netns = document.get("netns")
        if netns is None or netns == self._describe_netns():
            self.former = _parse(document)

    def remove(self) -> None:
        """See `Resource.remove`."""
        remove_file(self._aside)
        remove_file(self._path)

    def _describe_netns(self) -> dict[str, object]:
        """Return which namespace it is, for JSON."""
        if self._netns is None:
            return {}
        identity = self._netns.identify()
        return {"inode": identity.inode, "cookie": identity.cookie, "boot": identity.boot}


def calc_backup_name(container_id: str, ifname: str) -> str:
    """Return what an attachment's file is called."""
    return f"{container_id}_{ifname}{_SUFFIX}"


def list_backups(data_dir: str, network: str) -> dict[str, str]:
    """Return the files of a network's attachments, as far as they name their owner.

    Returns:
        by their names what they would be called if they were complete: a killed call leaves what is not.
    """
    try:
        names = os.listdir(data_dir)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    prefix = _calc_prefix(network)
    return {
        name: name.removeprefix(prefix)
        for name in names
        if name.startswith(prefix)
        or (name.endswith(_SUFFIX) and _read(f"{data_dir}/{name}").get("network") == network)
    }


def _calc_prefix(network: str) -> str:
    """Return what the name of a network's file begins with while it is written."""
    return f".{calc_digest(network, size=8)}-"


def _read(path: str) -> dict[str, object]:
    """Return what a file says; nothing if there is none, or it is invalid."""
    try:
        document = loads(read_file(path, _MAX_SIZE) or b"")
    except (NotRegularError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _render(attributes: Attributes) -> dict[str, object]:
    """Return attributes by the reference's keys."""
    document = {
        "mac": attributes.mac.hex(":") if attributes.mac is not None else None,
        "promisc": attributes.promisc,
        "mtu": attributes.mtu,
        "allmulti": attributes.allmulti,
        "txQLen": attributes.txqlen,
    }
    return {key: value for key, value in document.items() if value is not None}


def _parse(document: dict[str, object]) -> Attributes:
    """Return what a file says about the interface, without what is invalid."""
    mac, promisc, mtu, allmulti, txqlen = (
        document.get(key) for key in ("mac", "promisc", "mtu", "allmulti", "txQLen")
    )
    return Attributes(
        _parse_known_mac(mac) if isinstance(mac, str) else None,
        mtu if isinstance(mtu, int) and 0 < mtu < 1 << 31 else None,
        promisc if isinstance(promisc, bool) else None,
        allmulti if isinstance(allmulti, bool) else None,
        txqlen if isinstance(txqlen, int) and 0 <= txqlen < 1 << 31 else None,
    )


def _parse_known_mac(text: str) -> bytes | None:
    try:
        return parse_mac(text)
    except ValueError:
        return None
