"""What GC removes of unlisted attachments: one kind of thing of all of them at once."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.request import Request
from shibafu.netlink.link import link_by_name
from shibafu.netlink.link_removal import link_del_all
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Resource
from shibafu.resource.claim import Claim
from shibafu.resource.records import NetworkState, link_exists
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.resource.record import Record


class StaleAttachments(Resource):
    """Recorded attachments: their links, then the rules of their ports, then the claims.

    What fails, or is not reached because the process is killed, has a record by which the next GC finds it.
    An element of a set without a record would stay until the network's last container goes.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        links: the links on the host that they are called after.
        env: the environment.
    """

    __slots__ = ("_bridge", "_env", "_links", "_state")

    def __init__(self, state: NetworkState, bridge: str, links: set[str], env: "Mapping[str, str]") -> None:
        self._state = state
        self._bridge = bridge
        self._links = links
        self._env = env

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: everything that could not be removed.
        """
        teardown = Teardown()
        claims = {link: Claim(self._state, link, self._state.read_attachment(link)) for link in self._links}
        for claim in claims.values():
            teardown.do(claim.leave)
        gone: set[str] = set()
        teardown.do(self._remove_links, gone, teardown)
        before = len(teardown.errors)
        records = {link: claims[link].record for link in gone}
        _remove_port_rules(self._state, self._bridge, records, self._env, teardown)
        if len(teardown.errors) == before:
            for link in gone:
                teardown.do(claims[link].remove)
        teardown.finish()

    def _remove_links(self, gone: set[str], teardown: Teardown) -> None:
        """Delete the links, and add those that are gone."""
        with NetlinkSocket() as sock:
            # A name that is too long for a link is one of a file that somebody else has put there.
            found = [link_by_name(sock, name) for name in self._links if link_exists(name)]
            failures = link_del_all(sock, [link for link in found if link is not None])
        teardown.add(failures.values())
        gone |= self._links - failures.keys()


def _remove_port_rules(
    state: NetworkState,
    bridge: str,
    records: "dict[str, Record]",
    env: "Mapping[str, str]",
    teardown: Teardown,
) -> None:
    """Remove what only these ports still needed."""
    checked = [
        (link, record.mac) for link, record in records.items() if record.has_spoof_check and record.mac
    ]
    if checked:
        from shibafu.bridge.resources.spoofcheck import release_checks

        teardown.do(release_checks, state, bridge, checked, env)
    if any(record.is_internal for record in records.values()):
        from shibafu.bridge.resources.internal import InternalIsolation

        teardown.do(InternalIsolation(state, bridge, "", env).remove)
    # Not only of these: a record that was lost may have left elements that no other names.
    if state.has_policies():
        from shibafu.policy.membership import release_members

        teardown.do(release_members, env)


class StaleLeases(Resource):
    """The addresses of attachments that are not listed, as the network's IPAM plugin has recorded them.

    They stay where anything of the attachments could not be removed: what is perhaps still in use must not
    be given to somebody else.

    Args:
        request: the call.
        config: its configuration.
        installation: whose programs are called as functions.
    """

    __slots__ = ("_config", "_installation", "_request")
    is_last = True

    def __init__(self, request: Request, config: BridgeConfig, installation: Installation) -> None:
        self._request = request
        self._config = config
        self._installation = installation

    def remove(self) -> None:
        """Have the plugin release them.

        Raises:
            CniError: its error.
        """
        delegate(self._request, self._config.ipam_type, "GC", self._installation)
