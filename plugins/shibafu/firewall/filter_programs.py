"""The table filter of iptables, of both families: read, looked at and changed by programs."""

import os

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.firewall.filter_table import (
    calc_wanted,
    find_disorder,
    find_missing_rule,
    parse_rules,
    render_look,
    render_update,
)
from shibafu.firewall.needs import Needs
from shibafu.lean.subprocess import Child, find_program
from shibafu.netfilter.network_rulesets import PROGRAMS
from shibafu.netfilter.restore import decode, spawn_restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shibafu.firewall.filter_table import Rules

_IPV6 = "/proc/sys/net/ipv6"
_LIST = "*filter\n-S\nCOMMIT\n"


class FilterTables:
    """The table filter of both families.

    Args:
        env: the environment; its PATH is where the programs are searched, besides the system's directories.
    """

    __slots__ = ("_env", "_programs", "pids")

    def __init__(self, env: "Mapping[str, str]") -> None:
        # The processes that have looked at the rules, or changed them.
        self.pids: list[int] = []
        self._env = env
        found = {version: find_program(name, env.get("PATH", "")) for version, name in PROGRAMS.items()}
        self._programs = {version: path for version, path in found.items() if path is not None}

    def require(self, needs: Needs) -> list[int]:
        """Return the families that a network needs rules of.

        Raises:
            CniError: a program is not installed.
        """
        versions = [v for v in needs.versions if v == 4 or needs.has_accepted(v) or os.path.exists(_IPV6)]
        for version in versions:
            if version not in self._programs:
                raise CniError(FIREWALL, f"{PROGRAMS[version]} is not installed", "install iptables")
        return versions

    def look(self, needs: Needs) -> str:
        """Return in words what is not as a network needs it; empty where all is. Nothing is changed.

        Raises:
            CniError: a program is not installed, or cannot be executed.
        """
        wanted = {version: calc_wanted(needs, version) for version in self.require(needs)}
        children = {
            version: self._start(version, render_look(rules, needs.admin_chain))
            for version, rules in wanted.items()
        }
        ended = {version: child.wait() for version, child in children.items()}
        for version, (status, stdout, stderr) in ended.items():
            if status:
                missing = find_missing_rule(wanted[version], needs.admin_chain, decode(stderr))
                return f"{PROGRAMS[version]}: {missing or 'a chain is missing'}"
            disorder = find_disorder(needs.network, wanted[version], parse_rules(decode(stdout)))
            if disorder:
                return f"{PROGRAMS[version]}: {disorder}"
        return ""

    def read_all(self, versions: "Iterable[int]" = (4, 6)) -> "dict[int, Rules]":
        """Return all rules of some families, without those whose program is not installed.

        Raises:
            CniError: a program cannot be executed.
        """
        children = {version: self._start(version, _LIST) for version in versions if version in self._programs}
        return {version: parse_rules(decode(child.wait()[1])) for version, child in children.items()}

    def change(self, network: str, calc: "Callable[[int, Rules], Rules]", versions: "Iterable[int]") -> None:
        """Make the rules of a network what they are to be, in one transaction of each family.

        Args:
            network: the network.
            calc: returns for a family, of which it is given the rules, what they are to be.
            versions: the families.

        Raises:
            CniError: iptables refused.
        """
        listed = self.read_all(versions)
        texts = {v: render_update(rules, calc(v, rules), network) for v, rules in listed.items()}
        texts = {version: text for version, text in texts.items() if text}
        for version in self._attempt(texts):
            # Once more, to have the refusal's text.
            status, _, stderr = self._start(version, texts[version]).wait()
            if status:
                said = stderr.decode("utf-8", "replace").strip()
                name = PROGRAMS[version]
                raise CniError(
                    FIREWALL, f"{name} refused the rules of network {network}: {said}", texts[version]
                )

    def remove(
        self, network: str, calc: "Callable[[int, Rules], Rules]", expected: "Mapping[int, Rules]"
    ) -> None:
        """Make the rules of a network what they are to be without it; see `change`.

        They are not listed before. If anything of what goes is not as expected, such as a chain that somebody
        has added a rule to, iptables refuses all of it, and does that only then.

        Args:
            network: the network.
            calc: see `change`.
            expected: the rules that its chains, and FORWARD, probably have, by family.

        Raises:
            CniError: iptables refused.
        """
        found = {version: rules for version, rules in expected.items() if version in self._programs}
        texts = {v: render_update(rules, calc(v, rules), network) for v, rules in found.items()}
        refused = self._attempt({version: text for version, text in texts.items() if text})
        if refused:
            self.change(network, calc, refused)

    def _attempt(self, texts: dict[int, str]) -> list[int]:
        """Do one transaction of each family; return the families whose transaction has failed."""
        from shibafu.netfilter.commits import Commits

        commits = Commits(self._programs, self._env)
        try:
            return commits.run(texts)
        finally:
            self.pids += commits.pids

    def _start(self, version: int, text: str) -> Child:
        child = spawn_restore(self._programs[version], self._env, text)
        self.pids.append(child.pid)
        return child
