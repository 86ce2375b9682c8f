"""The iptables backend: rulesets, one of each family, put into the kernel by iptables-restore(8).

One process a family and call, which is started early and collected late.
"""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import Child, find_program
from shibafu.netfilter.network_rulesets import PROGRAMS
from shibafu.netfilter.render_iptables import (
    find_missing,
    find_overtaken,
    find_stray,
    render_check,
    render_list,
    render_removal,
    render_repair,
    render_setup,
    render_shared_teardown,
    render_teardown,
)
from shibafu.netfilter.restore import PATIENCE, decode, is_announced, spawn_restore, start_each
from shibafu.netfilter.ruleset import MISSING, MIXED, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.generation import GenerationWatch

# Seconds for transactions to be announced where it is not known that they are.
_SHORT_PATIENCE = 0.004


class Iptables:
    """Makes, compares and removes the rulesets of a network.

    Args:
        rulesets: what is wanted, by version of IP.
        network: the network's name.
        env: the environment; its PATH is where the programs are searched, besides the system's directories.

    Raises:
        CniError: a program is not installed.
    """

    __slots__ = (
        "_children",
        "_env",
        "_is_check",
        "_is_exact",
        "_network",
        "_others",
        "_programs",
        "_rulesets",
        "_watch",
        "detail",
        "fault",
        "pids",
    )

    def __init__(self, rulesets: dict[int, Ruleset], network: str, env: "Mapping[str, str]") -> None:
        # What is wrong with the rules once `finish` has returned False, and which of them it is.
        self.fault = MISSING
        self.detail = ""
        # The processes that have looked at the rules, or made them.
        self.pids: list[int] = []
        self._rulesets = rulesets
        self._network = network
        self._env = env
        self._programs: dict[int, str] = {}
        self._children: dict[int, Child] = {}
        self._is_check = False
        self._is_exact = False
        self._watch: GenerationWatch | None = None
        self._others: set[int] = set()
        for version in rulesets:
            name = PROGRAMS[version]
            path = find_program(name, env.get("PATH", ""))
            if path is None:
                raise CniError(
                    FIREWALL,
                    f"{name} is not installed",
                    'install iptables, or set "ipMasq" and "isolate" to false',
                )
            self._programs[version] = path

    def start_ensure(self) -> None:
        """Begin to make sure of what should be there; when `finish` is false, `repair` it.

        Raises:
            CniError: a program cannot be executed.
        """
        self.start_check()

    def start_check(self, is_exact: bool = True) -> None:
        """Begin to compare the rulesets with the existing rules, without changing anything.

        Args:
            is_exact: whether there should be no other rules in their chains.

        Raises:
            CniError: a program cannot be executed.
        """
        self._is_check = True
        self._is_exact = is_exact
        self._start({version: render_check(ruleset) for version, ruleset in self._rulesets.items()})

    def start_setup(self, others: set[int]) -> None:
        """Begin to make what a network has that has nothing yet; when `finish` is false, `repair` it.

        Args:
            others: the families where other networks probably have rulesets, and the shared chain is.

        Raises:
            CniError: a program cannot be executed.
        """
        self._is_check = False
        rulesets = self._rulesets.items()
        self._start({version: render_setup(ruleset, version in others) for version, ruleset in rulesets})

    def finish(self) -> bool:
        """Wait for what was begun; return whether it succeeded for both families."""
        children, self._children = self._children, {}
        ended = [(version, *child.wait()) for version, child in children.items()]
        for version, status, _, stderr in ended:
            if status:
                missing = find_missing(self._rulesets[version], decode(stderr)) if self._is_check else ""
                self._blame(MISSING, missing, version)
                return False
        for version, _, stdout, _ in ended:
            ruleset, printed = self._rulesets[version], decode(stdout)
            overtaken = find_overtaken(printed, ruleset)
            stray = find_stray(ruleset, printed) if self._is_check and self._is_exact else ""
            if overtaken or stray:
                self._blame(f"come before those of chain {overtaken}" if overtaken else MIXED, stray, version)
                return False
        return True

    def _blame(self, fault: str, detail: str, version: int) -> None:
        self.fault = fault
        self.detail = f"{PROGRAMS[version]}: {detail}" if detail else ""

    def repair(self) -> None:
        """Make the rulesets out of whatever is left of them.

        Raises:
            CniError: iptables refused.
        """
        for version, program in self._programs.items():
            existing = self._run(program, render_list(self._rulesets[version]))
            # Another network's first ADD or last DEL may make or remove the shared chain at the same moment.
            attempts = [render_repair(self._rulesets[version], existing, has) for has in (True, False)]
            if not any(self._spawn(program, text).wait()[0] == 0 for text in attempts):
                self._run(program, attempts[0])

    def prepare_teardown(self, others: set[int]) -> None:
        """Start the programs that will remove everything of the network.

        Args:
            others: the families in which there are other networks' rulesets, so that the shared chain stays.

        Raises:
            CniError: a program cannot be executed.
            OSError: see `GenerationWatch`.
        """
        self._others = others
        from shibafu.netfilter.generation import GenerationWatch

        self._watch = GenerationWatch()
        inherited = (self._watch.fileno(),)
        programs = self._programs
        self._children = start_each(
            programs, lambda version: spawn_restore(programs[version], self._env, None, inherited)
        )
        for version, child in self._children.items():
            # Looking up the extensions that rules use opens and closes sockets: better now.
            child.feed(self._split_teardown(version)[0])

    def start_teardown(self) -> None:
        """Tell the first to begin.

        One after the other: transactions at the same moment make iptables start over, with a new socket.
        And not before links are deleted: the kernel has one lock for both.
        """
        for version, child in list(self._children.items())[:1]:
            child.feed(self._split_teardown(version)[1])

    def _split_teardown(self, version: int) -> tuple[bytes, bytes]:
        """Return the input in two parts: what can be read ahead, and from the first COMMIT on."""
        ruleset = self._rulesets[version]
        text = render_teardown(ruleset)
        if version not in self._others:
            text += render_shared_teardown(ruleset.shared)
        head, commit, tail = text.partition("COMMIT\n")
        return head.encode(), f"{commit}{tail}".encode()

    def finish_teardown(self) -> None:
        """Wait until everything is removed; what was not there is not an error.

        Raises:
            CniError: iptables refused.
        """
        children, self._children = self._children, {}
        watch, is_done = self._watch, True
        is_known = all(map(is_announced, self._programs.values()))
        patience = PATIENCE if is_known else _SHORT_PATIENCE
        late = []
        for i, (version, child) in enumerate(children.items()):
            if i:
                child.feed(self._split_teardown(version)[1])
            commits = len(self._rulesets[version].tables())
            is_done = (
                is_done and watch is not None and watch.wait(child.pid, commits, patience, child.complaints)
            )
            if is_done and watch is not None and version not in self._others:
                # It does not come if the administrator has rules, which is as good.
                late += [] if watch.wait(child.pid, 1, patience, child.complaints) else [child]
        for child in children.values():
            child.finish_input()
        if is_done:
            for child in children.values():
                if child in late:
                    child.wait_until_silent()
                else:
                    child.leave()
            return
        failed = [version for version, child in children.items() if not child.wait_until_silent()]
        for version in failed:
            # Somebody removed or doubled a part of it.
            program, ruleset = self._programs[version], self._rulesets[version]
            existing = self._run(program, render_list(ruleset))
            self._run(program, render_removal(ruleset, existing))
            spawn_restore(program, self._env, render_shared_teardown(ruleset.shared)).wait()

    def cancel_teardown(self) -> None:
        """End what was prepared, before it has begun."""
        children, self._children = self._children, {}
        for child in children.values():
            child.withdraw()

    def _start(self, inputs: dict[int, str]) -> None:
        self._children = start_each(
            inputs, lambda version: self._spawn(self._programs[version], inputs[version])
        )

    def _spawn(self, program: str, text: str) -> Child:
        child = spawn_restore(program, self._env, text)
        self.pids.append(child.pid)
        return child

    def _run(self, program: str, text: str) -> str:
        status, stdout, stderr = self._spawn(program, text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            name = program.rpartition("/")[2]
            raise CniError(FIREWALL, f"{name} refused the rules of network {self._network}: {said}", text)
        return decode(stdout)
