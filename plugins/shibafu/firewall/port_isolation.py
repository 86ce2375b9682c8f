"""`isolated`: what keeps containers of one bridge apart, whether br_netfilter is on or off.

It takes one rule in nftables' bridge family, and a set of the ports of the network's containers. iptables,
which the reference uses, sees what stays on a bridge only if br_netfilter shows it.
"""

from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_chain, calc_comment
from shibafu.firewall.members import Members
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.nftables import Nftables
from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset
from shibafu.resource.base import RULES, Fault, Resource
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.cni.request import Request
    from shibafu.resource.view import View

_HOOK = "type filter hook forward priority 0"
_RULE = "iifname @ports oifname @ports drop"
_ADVICE = "somebody removed it; the next ADD of this container restores it"


class IsolatedPorts(Resource):
    """The ports of a container on a bridge, which reach no other container's of the network.

    Args:
        members: the network's containers.
        ports: the names of the links.
        env: the environment.
    """

    __slots__ = ("_env", "_members", "_ports")
    medium = RULES

    def __init__(self, members: Members, ports: "Iterable[str]", env: "Mapping[str, str]") -> None:
        self._members = members
        self._ports = sorted(ports)
        self._env = env

    @classmethod
    def obstacle(cls, request: "Request", config: object) -> CniError | None:
        """See `Resource.obstacle`: a program that is not installed."""
        from shibafu.resource.obstacles import find_missing_program

        return find_missing_program("nft", request.env, 'install nftables, or change "ingressPolicy"')

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the isolation of ports {', '.join(self._ports)}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"ports": self._ports}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        ruleset = _calc_ruleset(self._members.network, self._ports)
        seen = Nftables(ruleset, self._env).read().find_difference(ruleset)
        what = f"containers of network {self._members.network} are not isolated from each other"
        return [Fault(what, f"{seen}; {_ADVICE}")] if seen else []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: nft refuses.
        """
        network = self._members.network
        with self._members.lock(shared=True):
            if not Nftables(_calc_ruleset(network, self._ports), self._env).extend():
                # The network was not isolated, or somebody removed the table: others are in need of it, too.
                from shibafu.resource.pause_file import is_paused

                keys = [] if is_paused(NetworkState(network)) else self._members.list_keys()
                others = {key for key in keys if link_exists(key)}
                Nftables(_calc_ruleset(network, sorted(others.union(self._ports))), self._env).repair()
        return True

    def remove(self) -> None:
        """See `Resource.remove`; the table goes with the network's rules.

        Raises:
            CniError: nft refuses.
        """
        if find_program("nft", self._env.get("PATH", "")) is None:
            return  # there is no table
        with self._members.lock(shared=True):
            nftables = Nftables(_calc_ruleset(self._members.network, self._ports), self._env)
            if nftables.read().text:
                nftables.remove_elements()


def remove_isolation(network: str, env: "Mapping[str, str]") -> None:
    """Remove the table of a network, with its lock held exclusively.

    Raises:
        CniError: nft refuses.
    """
    if find_program("nft", env.get("PATH", "")) is not None:
        Nftables(_calc_ruleset(network, []), env).teardown()


def _calc_ruleset(network: str, ports: list[str]) -> Ruleset:
    table = f"bridge {calc_chain(network).lower()}-ports"
    elements = ElementSet("ports", "ifname", [f'"{port}"' for port in ports])
    return Ruleset(table, [Chain(table, "forward", _HOOK, [_RULE])], [elements], calc_comment(network))
