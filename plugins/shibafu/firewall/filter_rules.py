"""A network's rules in the table filter of iptables, of both families: made, looked at, removed.

A call that changes them holds the lock of all networks exclusively, and has one transaction for each family.
"""

from shibafu.cni.errors import CniError
from shibafu.cni.names import IPTABLES
from shibafu.firewall.config import ISOLATED_CONTAINERS
from shibafu.firewall.filter_programs import FilterTables
from shibafu.firewall.filter_table import (
    calc_expected,
    calc_update,
    calc_wanted,
)
from shibafu.firewall.members import Members
from shibafu.firewall.needs import Needs
from shibafu.netfilter.backend import CODE, identify_programs
from shibafu.netfilter.network_rulesets import PROGRAMS
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import NETWORK, RULES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from shibafu.cni.request import Request
    from shibafu.firewall.filter_table import Rules
    from shibafu.lean.ip import Cidr
    from shibafu.netfilter.verification import Place, Verification
    from shibafu.resource.view import View

_ADVICE = "the next ADD of this network restores them"


class FilterRules(Resource):
    """The rules of a network, which one of its containers needs.

    Args:
        members: the network's containers.
        key: what this one is remembered under.
        needs: what it needs.
        env: the environment.
        ports: the container's links on the host, where these are known to have other names.
    """

    __slots__ = ("_env", "_key", "_members", "_needs", "_ports", "_verification")
    medium = RULES
    scope = NETWORK

    def __init__(
        self,
        members: Members,
        key: str,
        needs: Needs,
        env: "Mapping[str, str]",
        ports: "Collection[str]" = (),
    ) -> None:
        self._ports = {key, *ports}
        self._members = members
        self._key = key
        self._needs = needs
        self._env = env
        self._verification: Verification | None = None

    @classmethod
    def obstacle(cls, request: "Request", config: object) -> CniError | None:
        """See `Resource.obstacle`: a program that is not installed."""
        from shibafu.resource.obstacles import find_missing_program

        found = (find_missing_program(name, request.env, "install iptables") for name in PROGRAMS.values())
        return next((obstacle for obstacle in found if obstacle is not None), None)

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the firewall's rules of network {self._needs.network}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return self._needs.to_json()

    def prepare(self) -> None:
        """See `Resource.prepare`: what was found right, and has not changed since, needs no look."""
        from shibafu.netfilter.verification import Verification

        self.cancel()
        self._verification = Verification(self._members.hints)

    def cancel(self) -> None:
        """See `Resource.cancel`."""
        if self._verification is not None:
            self._verification.close()
            self._verification = None

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`. What was not prepared is examined, whatever is known about it."""
        with self._members.lock(shared=True):
            seen = self._look(self._needs.combine(self._members.read_needs()), is_locked=False)
        if not seen:
            return []
        return [
            Fault(
                f"firewall rules of network {self._needs.network} are missing or changed",
                f"{seen}; {_ADVICE}",
            )
        ]

    def _look(self, needs: Needs, is_locked: bool) -> str:
        """Return in words what is not as the network needs it; empty where all is.

        Args:
            needs: what it needs.
            is_locked: whether a hint may be left where there was none.
        """
        tables = FilterTables(self._env)
        versions = tables.require(needs)
        subject = _calc_subject(needs, versions, self._env)
        # Once more, as others may have had the lock since this began.
        known, chains = self._verification, lambda: _list_chains(needs, versions)
        if known is not None and known.holds(subject, chains) and known.still_holds():
            return ""
        seen = tables.look(needs)
        if not seen:
            self._note(tables, needs, is_locked)
        return seen

    def _note(self, tables: FilterTables, needs: Needs, is_locked: bool) -> None:
        """Leave the hint that the rules are right, unless somebody else has changed anything meanwhile."""
        if self._verification is not None:
            versions = tables.require(needs)
            subject = _calc_subject(needs, versions, self._env)
            self._verification.note(subject, _list_chains(needs, versions), tables.pids, is_locked)

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        self.prepare()
        try:
            return self._ensure()
        finally:
            self.cancel()

    def _ensure(self) -> bool:
        FilterTables(self._env).require(self._needs)
        former = self._members.read_needs()
        if former is not None and former.to_json() == self._needs.combine(former).to_json():
            with self._members.lock(shared=True):
                if not self._look(former, is_locked=True):
                    return False
        with self._members.lock():
            former = self._members.read_needs()
            needs = self._needs.combine(former)
            self._members.write_needs(needs)
            if former is not None and former.zone != needs.zone:
                _remove_sources(former.zone, former.sources, self._env)
            if former is not None and former.policy != needs.policy:
                _remove_isolation(former, self._env)
            tables = FilterTables(self._env)
            versions = {*tables.require(needs), *(former.versions if former is not None else ())}
            make_rules(self._members, needs, tables, sorted(versions))
            self._note(tables, needs, is_locked=True)
        return former is None

    def remove(self) -> None:
        """See `Resource.remove`: the last container takes them away.

        Raises:
            CniError: iptables refused.
        """
        self._members.leave(self._key)
        settle_rules(self._members, self._env, self._needs.addresses, self._ports)


def settle_rules(
    members: Members, env: "Mapping[str, str]", departed: "Iterable[Cidr]", own_ports: "Collection[str]" = ()
) -> None:
    """Remove what nobody needs after containers have gone: with the last, all of the network's rules.

    Args:
        members: those that are left, and such as are marked as going.
        env: the environment.
        departed: addresses of containers that have gone, by which these had rules of their own.
        own_ports: links of the container that goes, which are still there.

    Raises:
        CniError: iptables refused.
    """
    gone = set(departed)
    needs = members.read_needs()
    if needs is None or (members.is_in_use() and not gone.intersection(needs.addresses)):
        return
    with members.lock():
        needs = members.read_needs()
        if needs is None:
            return  # another call was first
        if members.is_in_use():
            left = needs.without(gone)
            _remove_sources(needs.zone, sorted({*needs.sources} - {*left.sources}), env)
            members.write_needs(left)
            make_rules(members, left, FilterTables(env), needs.versions)
            return
        _remove_sources(needs.zone, needs.sources, env)
        _remove_isolation(needs, env)
        network, others = needs.network, members.list_others()
        # Those of the reference's containers, which have gone before.
        released = find_released(needs.bridges, own_ports)

        def calc(version: int, before: "Rules") -> "Rules":
            return calc_update(before, network, {}, select_accepted(others, version), released)

        tables = FilterTables(env)
        if others:
            tables.change(network, calc, needs.versions)
        else:
            tables.remove(network, calc, {v: calc_expected(needs, v) for v in needs.versions})
        members.forget_needs()


def select_accepted(networks: "Iterable[Needs]", version: int) -> list[Needs]:
    """Return those networks of which packets of a family are let through."""
    return [needs for needs in networks if needs.has_accepted(version)]


def make_rules(members: Members, needs: Needs, tables: FilterTables, versions: "Iterable[int]") -> None:
    """Make a network's rules out of whatever is there, with the lock held exclusively.

    Args:
        members: the network's containers.
        needs: what these need.
        tables: the table filter.
        versions: the families to look at, of which some may not need rules any more.

    Raises:
        CniError: iptables refused.
    """
    others = members.list_others()

    def calc(version: int, before: "Rules") -> "Rules":
        return calc_update(
            before, needs.network, calc_wanted(needs, version), select_accepted(others, version)
        )

    tables.change(needs.network, calc, versions)


def _calc_subject(needs: Needs, versions: list[int], env: "Mapping[str, str]") -> str:
    """Return what identifies a network's rules, and the programs that look at them; see `Verification`."""
    programs = identify_programs(IPTABLES, versions, env)
    return "\n".join([programs, CODE, str(needs.to_json())]) if programs and CODE else ""


def _list_chains(needs: Needs, versions: "Iterable[int]") -> "Iterator[Place]":
    """Yield the chains that a look compares."""
    for version in versions:
        for chain in calc_wanted(needs, version):
            yield version, "filter", chain


def find_released(bridges: "Iterable[str]", own_ports: "Collection[str]") -> list[str]:
    """Return those of some bridges that no container is on, besides one that goes."""
    found = []
    with NetlinkSocket() as sock:
        for name in bridges:
            bridge = link_by_name(sock, name)
            ports = link_list(sock, master=bridge.index, kind="veth") if bridge is not None else []
            if all(port.name in own_ports for port in ports):
                found.append(name)
    return found


def _remove_sources(zone: str, sources: list[str], env: "Mapping[str, str]") -> None:
    if zone and sources:
        from shibafu.firewall.zone import remove_sources

        remove_sources(zone, sources, env)


def _remove_isolation(needs: Needs, env: "Mapping[str, str]") -> None:
    if needs.policy == ISOLATED_CONTAINERS:
        from shibafu.firewall.port_isolation import remove_isolation

        remove_isolation(needs.network, env)
