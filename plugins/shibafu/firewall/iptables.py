"""The iptables backend: each family's rules in one iptables-restore(8) transaction a call.

A network has one chain, in the tables nat and filter, and one jump to it from POSTROUTING and from
FORWARD; without masquerading, in filter alone. The jumps say nothing but the network's name, so that
they can be found and removed whatever the configuration was when they were made.

One process checks all rules with `-C` lines (3 ms beside other work, where one process for each rule
is what makes others slow); it is started early and collected late. iptables-restore works the same
with the nft and the legacy variant, both of which were tried.
"""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.cni.names import ISOLATED_GROUP
from shibafu.cni.process import Child, find_program
from shibafu.firewall.rules import MULTICAST, NetworkRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.firewall.commits import CommitWatch

_PROGRAM = {4: "iptables-restore", 6: "ip6tables-restore"}
# Each table and the chain of the kernel that jumps to ours, with the command that puts the jump where
# it takes effect: FORWARD has to accept before another's rule drops.
_HOOKS = (("nat", "POSTROUTING", "-A"), ("filter", "FORWARD", "-I"))
# Seconds to wait for the legacy variant's lock.
_LOCK_WAIT = "30"
# Seconds for transactions to be announced; the legacy variant announces none.
_COMMIT_PATIENCE = 0.004


def calc_chain_rules(rules: NetworkRules, version: int, table: str) -> list[str]:
    """Return the rules inside the network's chain of one table, in iptables-save's words."""
    if table == "filter":
        return _calc_isolation(rules) + _calc_forwarding(rules)
    subnets = rules.of_version(version)
    return [f"-d {subnet} -j RETURN" for subnet in subnets] + [
        f"-s {subnet} ! -d {MULTICAST[version]} -j MASQUERADE" for subnet in subnets
    ]


def _calc_isolation(rules: NetworkRules) -> list[str]:
    """Return the rules, one for each bridge, that keep other isolated networks apart.

    Only the network's own chain accepts what comes in from its bridge, so that it does for both
    directions, and knows the others by their links' group.
    """
    if not rules.is_isolated:
        return []
    others = [f"-i {name} ! -o {name} -m devgroup --dst-group {ISOLATED_GROUP:#x}" for name in rules.bridges]
    return [f"{other} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP" for other in others]


def _calc_forwarding(rules: NetworkRules) -> list[str]:
    if not rules.is_masqueraded:
        return []
    return [f"-i {name} -j ACCEPT" for name in rules.bridges] + [
        f"-o {name} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT" for name in rules.bridges
    ]


def _calc_hooks(rules: NetworkRules) -> list[tuple[str, str, str]]:
    """Return those of `_HOOKS` that the network needs."""
    return [hook for hook in _HOOKS if hook[0] == "filter" or rules.is_masqueraded]


def calc_jump(rules: NetworkRules) -> str:
    """Return the jump to the network's chain, in iptables-save's words."""
    return f'-m comment --comment "{rules.comment}" -j {rules.chain}'


def calc_check(rules: NetworkRules, version: int) -> str:
    """Return the input that succeeds when all rules are there."""
    lines = []
    for table, hook, _ in _calc_hooks(rules):
        lines += [f"*{table}", f"-C {hook} {calc_jump(rules)}"]
        lines += [f"-C {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def calc_setup(rules: NetworkRules, version: int) -> str:
    """Return the input that makes all rules, and fails when one of the chains is already there."""
    lines = []
    for table, hook, insert in _calc_hooks(rules):
        lines += [f"*{table}", f"-N {rules.chain}"]
        lines += [f"-A {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        lines += [f"{insert} {hook} {calc_jump(rules)}", "COMMIT"]
    return "\n".join(lines) + "\n"


def calc_repair(rules: NetworkRules, version: int, existing: str) -> str:
    """Return the input that makes all rules out of whatever is left of them.

    Args:
        rules: what shall be there.
        version: 4 or 6.
        existing: the rules of the hooks, as `calc_list` makes them printed.
    """
    lines = []
    for table, hook, insert in _calc_hooks(rules):
        # ":chain" makes the chain, or empties the one that is there.
        lines += [f"*{table}", f":{rules.chain} - [0:0]"]
        lines += [f"-A {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        if not _count_jumps(existing, hook, rules.chain):
            lines.append(f"{insert} {hook} {calc_jump(rules)}")
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def calc_teardown(rules: NetworkRules, existing: str | None = None) -> str:
    """Return the input that removes the network's chain and the jumps to it.

    Args:
        rules: the network.
        existing: the rules of the hooks, where jumps may be missing or doubled; by default each
            hook has its one jump, and the input fails when that is not so.
    """
    lines = []
    for table, hook, _ in _calc_hooks(rules):
        jumps = 1 if existing is None else _count_jumps(existing, hook, rules.chain)
        lines.append(f"*{table}")
        # Makes a chain that is missing, so that all can be removed in the same way.
        if existing is not None:
            lines.append(f":{rules.chain} - [0:0]")
        lines += [f"-D {hook} {calc_jump(rules)}"] * jumps
        lines += [f"-F {rules.chain}", f"-X {rules.chain}", "COMMIT"]
    return "\n".join(lines) + "\n"


def calc_list(rules: NetworkRules) -> str:
    """Return the input that prints the rules of the hooks of all tables, with `-S` as in iptables(8)."""
    return "".join(f"*{table}\n-S {hook}\nCOMMIT\n" for table, hook, _ in _calc_hooks(rules))


def _count_jumps(existing: str, hook: str, chain: str) -> int:
    lines = existing.splitlines()
    return sum(line.startswith(f"-A {hook} ") and line.endswith(f" -j {chain}") for line in lines)


class Iptables:
    """Puts a network's rules into the kernel.

    Args:
        rules: what shall be there.
        env: the environment; its PATH is where the programs are searched, besides the system's directories.

    Raises:
        CniError: a program is not installed.
    """

    __slots__ = ("_children", "_env", "_programs", "_watch", "rules")

    def __init__(self, rules: NetworkRules, env: "Mapping[str, str]") -> None:
        self.rules = rules
        self._env = env
        self._programs: dict[int, str] = {}
        self._children: dict[int, Child] = {}
        self._watch: CommitWatch | None = None
        for version in rules.versions():
            name = _PROGRAM[version]
            path = find_program(name, env.get("PATH", ""))
            if path is None:
                raise CniError(
                    FIREWALL,
                    f"{name} is not installed",
                    'install iptables, or set "ipMasq" and "isolate" to false',
                )
            self._programs[version] = path

    def start_ensure(self) -> None:
        """Begin to make sure of rules that should be there; when `finish` is false, `repair` them."""
        self.start_check()

    def start_check(self) -> None:
        """Begin to find out whether all rules are there, without changing anything."""
        self._start({version: calc_check(self.rules, version) for version in self._programs})

    def start_setup(self) -> None:
        """Begin to make the rules of a network that has none."""
        self._start({version: calc_setup(self.rules, version) for version in self._programs})

    def finish(self) -> bool:
        """Wait for what was begun; return whether it succeeded for both families."""
        results = [child.wait()[0] for child in self._children.values()]
        self._children = {}
        return not any(results)

    def repair(self) -> None:
        """Make the rules out of whatever is left of them.

        Raises:
            CniError: iptables refused.
        """
        for version, program in self._programs.items():
            existing = self._run(program, calc_list(self.rules))
            self._run(program, calc_repair(self.rules, version, existing))

    def prepare_teardown(self) -> None:
        """Start the programs that will remove everything of the network."""
        from shibafu.firewall.commits import CommitWatch

        self._watch = CommitWatch()
        head, _ = self._split_teardown()
        for version, program in self._programs.items():
            child = self._spawn(program, None, (self._watch.fileno(),))
            # Looking up the extensions that rules use opens and closes sockets: better now.
            child.feed(head)
            self._children[version] = child

    def start_teardown(self) -> None:
        """Tell the first to begin.

        One after the other: transactions at the same moment make iptables start over, with a new socket.
        And not before links are deleted: the kernel has one lock for both.
        """
        _, tail = self._split_teardown()
        for child in list(self._children.values())[:1]:
            child.feed(tail)

    def _split_teardown(self) -> tuple[bytes, bytes]:
        """Return the input in two parts: what can be read ahead, and from the first COMMIT on."""
        head, commit, tail = calc_teardown(self.rules).partition("COMMIT\n")
        return head.encode(), f"{commit}{tail}".encode()

    def finish_teardown(self) -> None:
        """Wait until everything is removed; what was not there is no error.

        Raises:
            CniError: iptables refused.
        """
        children, self._children = self._children, {}
        watch, is_done, commits = self._watch, True, len(_calc_hooks(self.rules))
        for i, child in enumerate(children.values()):
            if i:
                child.feed(self._split_teardown()[1])
            is_done = is_done and watch is not None and watch.wait(child.pid, commits, _COMMIT_PATIENCE)
        for child in children.values():
            child.finish_input()
        if is_done:
            return
        failed = [version for version, child in children.items() if not child.wait_until_silent()]
        for version in failed:
            # Somebody removed or doubled a part of it.
            program = self._programs[version]
            existing = self._run(program, calc_list(self.rules))
            self._run(program, calc_teardown(self.rules, existing))

    def _start(self, inputs: dict[int, str]) -> None:
        for version, text in inputs.items():
            self._children[version] = self._spawn(self._programs[version], text)

    def _spawn(self, program: str, text: str | None, inherit: tuple[int, ...] = ()) -> Child:
        argv = [program, "--noflush", "--wait", _LOCK_WAIT]
        try:
            stdin = text.encode() if text is not None else None
            return Child(program, argv, self._env, stdin, keep_stderr=True, inherit=inherit)
        except OSError as error:
            raise CniError(FIREWALL, f"cannot execute {program}: {error.strerror}") from None

    def _run(self, program: str, text: str) -> str:
        status, stdout, stderr = self._spawn(program, text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            name = program.rpartition("/")[2]
            network = self.rules.network
            raise CniError(FIREWALL, f"{name} refused the rules of network {network}: {said}", text)
        return stdout.decode()
