"""Published ports put into the kernel by iptables-restore(8), compared and removed."""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import Child, find_program
from shibafu.netfilter.network_rulesets import PROGRAMS
from shibafu.netfilter.restore import decode, spawn_restore
from shibafu.portmap.chains import calc_dnat_chain, calc_masquerade_chain, list_jumps, list_port_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shibafu.portmap.publication import Publication
    from shibafu.portmap.register import Companions

_MOST_ASKED = 100
_CHAIN_PREFIX = calc_dnat_chain("").partition("-")[0] + "-"


class _Look:
    """A look at rules of one family.

    Args:
        jumps: the kernel's chains, and the rules in them that lead to the network's.
        rules: those of a publication, likewise.
        may_list: whether they are written as iptables lists them.

    Attributes:
        text: the input of iptables-restore. It fails at the first rule that is asked for and is not there.
    """

    __slots__ = ("_asked", "_listed", "text")

    def __init__(
        self, jumps: list[tuple[str, str]], rules: list[tuple[str, str]], may_list: bool = True
    ) -> None:
        # To have each of many asked for would take a second.
        is_listed = may_list and len(rules) > _MOST_ASKED
        self._listed = [f"-A {chain} {rule}" for chain, rule in rules] if is_listed else []
        self._asked = [f"{chain} {rule}" for chain, rule in [*jumps, *(rules[:1] if is_listed else rules)]]
        chains = dict.fromkeys(chain for chain, _ in rules) if is_listed else ()
        lists = [f"-S {chain}" for chain in chains]
        self.text = _render([*(f"-C {rule}" for rule in self._asked), *lists])

    def find_missing(self, status: int, printed: str, complaint: str) -> str:
        """Return in words which rule is missing; empty if none is.

        Args:
            status: how iptables-restore has ended.
            printed: what it has listed.
            complaint: what it has said.
        """
        if not status:
            listed = set(printed.splitlines()) if self._listed else ()
            missing = next((rule for rule in self._listed if rule not in listed), "")
            return f"table nat lacks the rule: {missing}" if missing else ""
        number = complaint.partition("line ")[2].partition(" failed")[0]
        # The first line names the table.
        i = int(number) - 2 if number.isdecimal() else -1
        is_known = 0 <= i < len(self._asked)
        return f"table nat lacks the rule: -A {self._asked[i]}" if is_known else "rules are missing"


class IptablesPorts:
    """The chains of networks with published ports; `nftables_ports.NftablesPorts` has the same methods.

    Args:
        env: the environment; its PATH is where the programs are searched, besides the system's directories.
    """

    __slots__ = ("_env",)

    def __init__(self, env: "Mapping[str, str]") -> None:
        self._env = env

    def publish(
        self, publication: "Publication", others: "Companions", is_paused: "Callable[[], bool]"
    ) -> None:
        """Make the rules of a publication.

        Args:
            publication: what is published.
            others: all that is published besides.
            is_paused: whether what is missing of the others' rules stays so, and these with it.

        Raises:
            CniError: iptables refused, or is not installed.
        """
        texts = {}
        for version in publication.targets:
            rules = list_port_rules(publication, version)
            if rules and any(_select(others, version)):
                jumps = [f"-C {hook} {jump}" for hook, jump in list_jumps(publication.network)]
                texts[version] = _render([*jumps, *(f"-A {chain} {rule}" for chain, rule in rules)])
            elif rules:
                texts[version] = _render(_list_setup(publication.network, rules))
        for version in self._commit(texts):
            # Something is left of a call that was killed, or somebody has removed what others need, too.
            neighbours = [*_select(others, version)]
            if not (neighbours and is_paused()):
                self._repair(publication.network, version, [*neighbours, publication])

    def restore(self, publication: "Publication", others: "Companions") -> None:
        """Make the rules of a publication out of whatever is left of them; see `publish`.

        Raises:
            CniError: iptables refused.
        """
        for version in publication.targets:
            members = [*_select(others, version), publication]
            if publication.of_version(version):
                self._repair(publication.network, version, members)

    def withdraw(self, publication: "Publication", others: "Companions", is_complete: bool = True) -> None:
        """Remove the rules of a publication; absence is success.

        Args:
            publication: what is no longer published.
            others: all that stays published.
            is_complete: whether that is really all.

        Raises:
            CniError: iptables refused.
        """
        texts = {}
        for version in publication.targets:
            rules = list_port_rules(publication, version)
            if rules and any(_select(others, version)):
                texts[version] = _render([f"-D {chain} {rule}" for chain, rule in rules])
            elif rules and is_complete:
                texts[version] = _render(_list_teardown(publication.network))
            elif rules:
                self._repair(publication.network, version, [], publication.key)
        for version in self._commit(texts):
            members = [*_select(others, version)]
            self._repair(publication.network, version, members, publication.key)

    def _commit(self, texts: dict[int, str]) -> list[int]:
        """Do a transaction of each family; return the families whose failed."""
        if not texts:
            return []
        from shibafu.netfilter.commits import Commits

        return Commits({version: self._find(version) for version in texts}, self._env).run(texts)

    def find_fault(self, publication: "Publication") -> str:
        """Return what is wrong with the rules of a publication, in words; empty if nothing is.

        Raises:
            CniError: a program cannot be executed.
        """
        has_conditions = any(publication.conditions.values())
        looks: dict[int, _Look] = {}
        for version in publication.targets:
            rules = list_port_rules(publication, version)
            if rules:
                looks[version] = _Look(list_jumps(publication.network), rules, may_list=not has_conditions)
        children = self._start({version: look.text for version, look in looks.items()})
        ended = {version: child.wait() for version, child in children.items()}
        for version, (status, stdout, stderr) in ended.items():
            missing = looks[version].find_missing(status, decode(stdout), decode(stderr))
            if missing:
                return f"{PROGRAMS[version]}: {missing}"
        return ""

    def sweep(self, is_leaving: "Callable[[str], bool]") -> None:
        """Remove rules without a record.

        Args:
            is_leaving: whether one goes, by its comment.

        Raises:
            CniError: iptables refused.
        """
        for version in PROGRAMS:
            lines = self._list(version)
            own = [line for line in lines if line.startswith(f"-A {_CHAIN_PREFIX}")]
            leaving = [line for line in own if is_leaving(_find_comment(line))]
            staying = {line.split()[1] for line in own if line not in leaving}
            if not leaving:
                continue
            removals = [line.replace("-A ", "-D ", 1) for line in leaving]
            for chain in dict.fromkeys(line.split()[1] for line in leaving):
                if chain not in staying:
                    jumps = [line for line in lines if line.endswith(f" -j {chain}")]
                    removals += [line.replace("-A ", "-D ", 1) for line in jumps]
                    removals += [f"-F {chain}", f"-X {chain}"]
            self._require(version, _render(removals))

    def _repair(self, network: str, version: int, members: "list[Publication]", leaving: str = "") -> None:
        """Make a network's chains out of whatever is left of them; without any rules, remove them.

        Args:
            network: the network.
            version: the family, 4 or 6.
            members: what is published. What else is there stays: it may be another container's.
            leaving: the key of what is not to stay.
        """
        lines = self._list(version)
        chains = calc_dnat_chain(network), calc_masquerade_chain(network)
        text = [
            line.replace("-A ", "-D ", 1)
            for line in lines
            if any(line.endswith(f" -j {chain}") for chain in chains)
        ]
        # Makes what is missing, and empties what is there.
        text += [f":{chain} - [0:0]" for chain in chains]
        known = {leaving, *(one.key for one in members)}
        rules = [
            (chain, line.removeprefix(f"-A {chain} "))
            for chain in chains
            for line in lines
            if line.startswith(f"-A {chain} ") and _find_comment(line).partition(" ")[0] not in known
        ]
        rules += [rule for one in members for rule in list_port_rules(one, version)]
        if rules:
            text += [line for line in _list_setup(network, rules) if not line.startswith("-N ")]
        else:
            text += [f"-X {chain}" for chain in chains]
        self._require(version, _render(text))

    def _list(self, version: int) -> list[str]:
        """Return all rules of the table nat; none without the program."""
        path = find_program(PROGRAMS[version], self._env.get("PATH", ""))
        if path is None:
            return []
        return decode(spawn_restore(path, self._env, _render(["-S"])).wait()[1]).splitlines()

    def _run(self, texts: dict[int, str]) -> dict[int, str]:
        """Do a transaction of each family; return what was said of those that failed."""
        failed = {}
        for version, child in self._start(texts).items():
            status, _, stderr = child.wait()
            if status:
                failed[version] = decode(stderr)
        return failed

    def _start(self, texts: dict[int, str]) -> dict[int, Child]:
        """Begin a transaction of each family."""
        return {
            version: spawn_restore(self._find(version), self._env, text) for version, text in texts.items()
        }

    def _require(self, version: int, text: str) -> None:
        said = self._run({version: text}).get(version)
        if said is not None:
            raise CniError(FIREWALL, f"{PROGRAMS[version]} refused the rules: {said.strip()}", text)

    def _find(self, version: int) -> str:
        path = find_program(PROGRAMS[version], self._env.get("PATH", ""))
        if path is None:
            raise CniError(
                FIREWALL,
                f"{PROGRAMS[version]} is not installed",
                'install iptables, or set "backend" to nftables',
            )
        return path


def _select(others: "Companions", version: int) -> "Iterator[Publication]":
    """Yield those that have rules of a family."""
    return (one for one in others if one.of_version(version))


def _list_setup(network: str, rules: list[tuple[str, str]]) -> list[str]:
    """Return the lines that make a network's chains; they fail if one already exists."""
    lines = [f"-N {calc_dnat_chain(network)}", f"-N {calc_masquerade_chain(network)}"]
    lines += [f"-A {chain} {rule}" for chain, rule in rules]
    for hook, jump in list_jumps(network):
        # What is masqueraded here is answered by nobody else's rule, so this one comes first.
        lines.append(f"-I {hook} 1 {jump}" if hook == "POSTROUTING" else f"-A {hook} {jump}")
    return lines


def _list_teardown(network: str) -> list[str]:
    """Return the lines that remove a network's chains; they fail when one is missing."""
    chains = calc_dnat_chain(network), calc_masquerade_chain(network)
    lines = [f"-D {hook} {jump}" for hook, jump in list_jumps(network)]
    return [*lines, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]


def _find_comment(line: str) -> str:
    return line.partition('--comment "')[2].partition('"')[0]


def _render(lines: list[str]) -> str:
    return "\n".join(["*nat", *lines, "COMMIT"]) + "\n"
