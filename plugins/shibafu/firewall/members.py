"""The containers that a network's rules are for, and what these have been made of.

    /run/shibafu/firewall/<host's namespace>/<network>/
        veth1a2b3c4d5e6    an attachment, called as shibafu-bridge would call its link
        firewall           what the network's containers need

Nothing counts: whether a network still has containers is asked of their links and namespaces.
"""

import os

from shibafu.cni.lock import Lock
from shibafu.cni.names import calc_host_veth
from shibafu.firewall.needs import Needs
from shibafu.lean.ip import Cidr
from shibafu.resource.base import Fault, Resource
from shibafu.resource.identity import identify_netns
from shibafu.resource.record import COMPLETE, LEAVING, Record, select_recorded
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from shibafu.cni.request import Request
    from shibafu.resource.view import View

_ROOT = "/run/shibafu/firewall"


class Members:
    """The containers of one network in the network namespace that this process is in.

    Args:
        network: the network's name.

    Raises:
        CniError: others could have forged what is remembered.
    """

    __slots__ = ("_state", "network")

    def __init__(self, network: str) -> None:
        self._state = NetworkState(network, _ROOT)
        self.network = network

    def lock(self, shared: bool = False) -> Lock:
        """Return the lock of what all networks share: who changes it holds it exclusively."""
        inode = os.stat("/proc/self/ns/net").st_ino
        return Lock(f"firewall-{inode}", "the firewall's rules of networks", shared=shared)

    def add(self, key: str, record: Record) -> None:
        """Remember an attachment."""
        self._state.write_attachment(key, record)

    def find(self, key: str) -> Record | None:
        """Return what is remembered of an attachment; None when nothing is."""
        return self._state.find_attachment(key)

    def remove(self, key: str) -> None:
        """Forget an attachment."""
        self._state.remove_attachment(key)

    def leave(self, key: str) -> None:
        """Mark an attachment as one that goes: of two at a time, the later sees that it is the last."""
        record = self.find(key)
        if record is not None and record.phase != LEAVING:
            record.phase = LEAVING
            try:
                self._state.update_attachment(key, record)
            except FileNotFoundError:
                pass  # another call was first

    def is_in_use(self) -> bool:
        """Return whether any attachment is left that does not go."""
        return any(map(self._is_there, self.list_keys()))

    def _is_there(self, key: str) -> bool:
        record = self.find(key)
        if record is None or record.phase == LEAVING:
            return False
        # Of other plugins' links the names are not known; all of a container's go with its namespace.
        return link_exists(key) or not record.has_ended()

    def read_needs(self) -> Needs | None:
        """Return what the network's rules have been made of; None when there are none."""
        return _parse_needs(self._state)

    def write_needs(self, needs: Needs) -> None:
        """Remember what the network's rules are about to be made of."""
        self._state.write_rules(needs.to_json())

    @property
    def hints(self) -> NetworkState:
        """Where it is kept when the network's rules were last found right."""
        return self._state

    def list_keys(self) -> list[str]:
        """Return what all attachments that are remembered are remembered under."""
        return self._state.attachments()

    def list_others(self) -> list[Needs]:
        """Return what other networks' rules have been made of."""
        try:
            names = [name for name in self._state.networks() if name != self.network]
        except FileNotFoundError:
            return []
        found = (_parse_needs(NetworkState(name, _ROOT)) for name in names)
        return [needs for needs in found if needs is not None]

    def forget_needs(self) -> None:
        """Forget the rules, which are gone, and the network with the last of its attachments."""
        self._state.remove_rules()
        self.forget_if_unused()

    def forget_if_unused(self) -> None:
        """Forget a network that has neither attachments nor rules."""
        self._state.remove_if_unused()


def _parse_needs(state: NetworkState) -> Needs | None:
    fields = state.read_rules()
    return Needs.from_json(state.network, fields) if fields else None


class Membership(Resource):
    """That an attachment is remembered: before all else, so that what a killed call leaves is found.

    Args:
        members: the network's.
        request: the call.
        addresses: the container's.
        bridge: the bridge that it is on; empty if it is on none.
    """

    __slots__ = ("_members", "_record", "key")
    is_last = True

    def __init__(
        self, members: Members, request: "Request", addresses: "Collection[Cidr]" = (), bridge: str = ""
    ) -> None:
        self._members = members
        self.key = calc_key(request)
        self._record = Record(
            request.container_id,
            request.ifname,
            request.netns,
            bridge,
            ips=list(map(str, addresses)),
            phase=COMPLETE,
            identity=identify_netns(request.netns),
            config=select_recorded(request.config.values),
            args=request.args,
        )

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the record of the firewall plugin"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`: a record that is lost is none, as rules tell."""
        return []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        is_new = self._members.find(self.key) is None
        self._members.add(self.key, self._record)
        return is_new

    def remove(self) -> None:
        """See `Resource.remove`."""
        self._members.remove(self.key)
        self._members.forget_if_unused()


def calc_key(request: "Request") -> str:
    """Return what an attachment is remembered under."""
    return calc_host_veth(request.network, request.container_id, request.ifname)
