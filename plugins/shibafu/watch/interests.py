"""What concerns the networks with containers: names of links, and which network each belongs to.

What does not is thrown away before anything is looked at.
"""

import os

from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_bond, calc_chain, calc_ifb, is_host_veth
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.networks.configured import ConfiguredNetwork, load_networks
from shibafu.resource.home import find_home, list_network_directories
from shibafu.resource.records import NetworkState
from shibafu.runtime.conflist import ConflistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_RECORDS = "/run/shibafu"
# The names of chains and tables begin with this, and the digits of calc_chain follow.
_CHAIN = "shibafu-"
_DIGITS = len(calc_chain("")) - len(_CHAIN)

# A network, and the container's link; an empty one stands for what its containers share.
Part = tuple[str, str]


class Interests:
    """The networks that have containers here, by what announcements name.

    Args:
        conf_dir: where networks are configured.

    Attributes:
        networks: those that have a bridge and containers, by name.
    """

    def __init__(self, conf_dir: str) -> None:
        self._conf_dir = conf_dir
        self._home = find_home(_RECORDS)[0]
        self._configured: dict[str, ConfiguredNetwork] = {}
        self._files: object = None
        self._directories: dict[str, int] = {}
        self._links: dict[str, dict[str, list[str]]] = {}
        self._parts: dict[str, list[Part]] = {}
        self._names: dict[int, str] = {}
        self._inside: dict[tuple[int, int], str] = {}
        self._digits: dict[str, str] = {}
        self.networks: dict[str, ConfiguredNetwork] = {}
        self._broken: list[str] = []
        self._grown: set[str] = set()

    # What there is

    def refresh(self) -> None:
        """Read what has changed of configurations and records."""
        is_reconfigured = self._read_configurations()
        changed = {name for name in self._configured if self._has_changed(name)}
        if not changed and not is_reconfigured:
            return
        self._grown |= {name for name in changed if self._read_links(name)}
        self._links = {name: links for name, links in self._links.items() if name in self._configured}
        self.networks = {name: self._configured[name] for name, links in self._links.items() if links}
        self._digits = {calc_chain(name)[len(_CHAIN) :]: name for name in self.networks}
        former, self._parts = self._parts, {}
        for name, network in self.networks.items():
            bridge = network.bridge
            if bridge is not None:
                uplinks = bridge.uplinks.links if bridge.uplinks is not None else ()
                for shared in {bridge.bridge, bridge.gateway_link, calc_bond(bridge.bridge), *uplinks}:
                    self._parts.setdefault(shared, []).append((name, ""))
            for link, others in self._links[name].items():
                for one in (link, *others):
                    self._parts.setdefault(one, []).append((name, link))
        self._names = {index: name for index, name in self._names.items() if name in self._parts}
        self._inside = {end: name for end, name in self._inside.items() if name in self._parts}
        # Those that are created later are announced.
        self._look_up(self._parts.keys() - former.keys())

    def _look_up(self, names: "Collection[str]") -> None:
        """Note the numbers of links that exist."""
        if not names:
            return
        with NetlinkSocket() as sock:
            for name in names:
                link = link_by_name(sock, name)
                if link is not None:
                    self._names[link.index] = name
                    self.learn_inside(link.index, link.link_netnsid, link.peer)

    def take_grown(self) -> set[str]:
        """Return, once, networks that have got containers."""
        grown, self._grown = self._grown, set()
        return grown

    def take_broken(self) -> list[str]:
        """Return, once, why some of what is configured cannot be watched."""
        broken, self._broken = self._broken, []
        return broken

    def forget_indexes(self) -> None:
        """Look the numbers of all links up again, since announcements were lost."""
        self._names = {}
        self._inside = {}
        self._parts = {}
        self._directories = {}

    def _read_configurations(self) -> bool:
        files = _identify_files(self._conf_dir)
        if files == self._files:
            return False
        self._files = files
        broken: list[ConflistError] = []
        networks = []
        try:
            networks = load_networks(self._conf_dir, [], broken)
        except ConflistError as error:
            broken.append(error)
        self._broken = [error.msg for error in broken]
        self._broken += [
            f"network {one.name}: its configuration is invalid: {one.problem}"
            for one in networks
            if one.problem
        ]
        self._configured = {one.name: one for one in networks if one.bridge is not None and not one.problem}
        # What a network's links are called, its configuration says, too.
        self._directories = {}
        return True

    def _has_changed(self, network: str) -> bool:
        try:
            changed = os.stat(f"{self._home}/{network}").st_mtime_ns
        except OSError:
            changed = 0
        former = self._directories.get(network, -1)
        self._directories[network] = changed
        return changed != former

    def _read_links(self, network: str) -> bool:
        """Read which containers a network has; return whether any of them is new."""
        former = self._links.get(network, {})
        try:
            state = NetworkState(network)
            names = state.attachments()
        except (CniError, OSError):
            names = []
        links: dict[str, list[str]] = {}
        for link in names:
            if link in former:
                links[link] = former[link]
                continue
            record = state.read_attachment(link)
            if record.owner is not None:
                links[link] = [calc_ifb(network, *record.owner)]
        self._links[network] = links
        return links.keys() > former.keys() or not links.keys() <= former.keys()

    def list_links(self, network: str) -> list[str]:
        """Return the links of a network's containers on the host."""
        return list(self._links.get(network, {}))

    # What an announcement is about

    def knows(self, index: int) -> bool:
        """Return whether a link of this number has to do with a network."""
        return index in self._names

    def learn(self, index: int, name: str) -> None:
        """Note the number of a link that has just been created, if it has to do with a network."""
        if name not in self._parts and is_host_veth(name) and self._is_recorded(name):
            # The times of directories are too coarse to tell one container from the next.
            self._directories = {}
            self.refresh()
        if name in self._parts:
            self._names[index] = name

    def _is_recorded(self, link: str) -> bool:
        try:
            # Networks that have not been read yet among them.
            names = list_network_directories(self._home)
        except OSError:
            return False
        return any(os.path.lexists(f"{self._home}/{network}/{link}") for network in names)

    def learn_inside(self, index: int, namespace: int, peer: int) -> None:
        """Note where the other end of a link is: in which namespace, and its number there."""
        if is_host_veth(self._names[index]) and namespace >= 0:
            self._inside[namespace, peer] = self._names[index]

    def find_parts_inside(self, namespace: int, index: int) -> list[Part]:
        """Return what a container's interface is of."""
        return self._parts.get(self._inside.get((namespace, index), ""), [])

    def shares_gateway(self, network: str) -> bool:
        """Return whether a network's gateway is another host's, too."""
        bridge = self.networks[network].bridge
        return bridge is not None and bridge.shared_gateway is not None

    def find_parts(self, index: int) -> list[Part]:
        """Return what a link is of."""
        return self._parts.get(self._names.get(index, ""), [])

    def find_owners(self, name: str) -> list[str]:
        """Return the networks that a chain or a table of netfilter may have to do with.

        Args:
            name: its name, which tells where it is made for one network.
        """
        name = name.lower()
        digits = name[len(_CHAIN) : len(_CHAIN) + _DIGITS]
        if name.startswith(_CHAIN) and len(digits) == _DIGITS:
            owner = self._digits.get(digits)
            return [owner] if owner is not None else []
        return list(self.networks)


def _identify_files(directory: str) -> object:
    """Return what identifies the content of a directory."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat()
                found.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError:
        pass  # loading them says why
    return sorted(found)
