"""GC: free everything of the network that the runtime no longer lists."""

from shibafu.bridge.compat.leftovers import teardown_lost
from shibafu.bridge.compat.takeover_gc import collect_foreign_garbage
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.delete import close_loopback, release_network
from shibafu.cni.attachments import parse_valid_attachments
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.names import calc_host_veth
from shibafu.cni.request import Request
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.teardown import link_del_all
from shibafu.resource.records import NetworkState, link_exists
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def collect_garbage(request: Request, installation: Installation) -> None:
    """Remove links, records, rules and, through the IPAM plugin, addresses of unlisted attachments.

    Raises:
        CniError: everything that could not be removed.
    """
    config = BridgeConfig(request)
    teardown = Teardown()
    valid = parse_valid_attachments(request.config)
    are_leases_free = True
    if valid is not None:
        keep = {calc_host_veth(config.network, container_id, ifname) for container_id, ifname in valid}
        state = NetworkState(config.network)
        remembered = set(state.attachments())
        stale = _Stale(state, remembered - keep, request.env)
        stale.remove(teardown)
        before = len(teardown.errors)
        teardown.do(lambda: collect_foreign_garbage(request, config, valid, keep | remembered))
        are_leases_free = not stale.left and len(teardown.errors) == before
        # A call that was killed may have left rules and no attachment.
        teardown.do(lambda: release_network(state, request.env))
        close_loopback(config, state)
        if not state.attachments():
            teardown.do(lambda: teardown_lost(config, state, request.env))
    # An address that is perhaps still in use must not be given to somebody else.
    if config.has_ipam and are_leases_free:
        teardown.do(lambda: delegate(request, config.ipam_type, "GC", installation))
    teardown.finish()


class _Stale:
    """Attachments that are removed together: all links, then what watches over ports, then the records.

    What fails, or is not reached because the process is killed, has a record by which the next GC finds it.
    An element of a set that no record tells of would stay until the network's last container goes.

    Args:
        state: the network's records.
        links: their links on the host.
        env: the environment.
    """

    __slots__ = ("_env", "_links", "_records", "_state", "left")

    def __init__(self, state: NetworkState, links: set[str], env: "Mapping[str, str]") -> None:
        self._state = state
        self._env = env
        self._links = links
        self._records = {link: state.read_attachment(link) for link in links}
        # Those that are still there.
        self.left: set[str] = set()

    def remove(self, teardown: Teardown) -> None:
        """Remove all that can be removed."""
        links = self._links
        while links:
            gone: set[str] = set()
            teardown.do(self._delete_links, teardown, links, gone)
            self.left |= links - gone
            before = len(teardown.errors)
            self._release_ports(teardown, gone)
            if len(teardown.errors) == before:
                for link in gone:
                    teardown.do(self._state.remove_attachment, link)
            # An ADD at the same moment has made it since this call looked, and had seen the record before.
            links = {link for link in gone if link_exists(link) and not self._state.remembers(link)}

    def _delete_links(self, teardown: Teardown, names: set[str], gone: set[str]) -> None:
        """Delete links by name, and add those that are gone."""
        with NetlinkSocket() as sock:
            # A name that is too long for a link is one of a file that somebody else has put there.
            found = [link_by_name(sock, name) for name in names if link_exists(name)]
            failures = link_del_all(sock, [link for link in found if link is not None])
        teardown.add(failures.values())
        gone |= names - failures.keys()

    def _release_ports(self, teardown: Teardown, gone: set[str]) -> None:
        """Remove what only these ports still needed, each once."""
        records = {link: self._records[link] for link in gone}
        guarded = [
            (link, record.mac) for link, record in records.items() if record.has_spoof_check and record.mac
        ]
        if guarded:
            from shibafu.bridge.resources.spoofcheck import release_guards

            teardown.do(release_guards, self._state, guarded, self._env)
        if any(record.is_internal for record in records.values()):
            from shibafu.bridge.resources.internal import release_barrier

            teardown.do(lambda: release_barrier(self._state, "", self._env))
