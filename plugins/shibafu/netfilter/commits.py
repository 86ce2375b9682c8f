"""Transactions of iptables-restore(8), one of each family, without the waits of the kernel after them.

A program that has removed rules cannot close its netlink socket before no processor can hold these any more
(`generation`): 20 ms for which nobody has to wait, once the kernel has announced the transaction.
"""

from shibafu.netfilter.generation import open_watch
from shibafu.netfilter.restore import PATIENCE, finish_announced, is_announced, spawn_restore, start_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.lean.subprocess import Child
    from shibafu.netfilter.generation import GenerationWatch

_COMMIT = "COMMIT\n"


class Commits:
    """Transactions of a table.

    Args:
        programs: the path of iptables-restore, by version of IP.
        env: its environment.

    Attributes:
        pids: the processes that have made some.
    """

    __slots__ = ("_env", "_programs", "pids")

    def __init__(self, programs: "Mapping[int, str]", env: "Mapping[str, str]") -> None:
        self.pids: list[int] = []
        self._programs = programs
        self._env = env

    def run(self, texts: "Mapping[int, str]") -> list[int]:
        """Do a transaction of each family, one after the other; return the families whose has failed.

        Args:
            texts: the input of each, which ends with its only COMMIT.

        Raises:
            CniError: a program cannot be executed.
        """
        watch = open_watch() if all(is_announced(self._programs[version]) for version in texts) else None
        if watch is None:
            # From its table's name on, the legacy variant has the one lock of both families.
            return [version for version, text in texts.items() if self._start(version, text).wait()[0]]
        try:
            return self._run_announced(texts, watch)
        finally:
            watch.close()

    def _run_announced(self, texts: "Mapping[int, str]", watch: "GenerationWatch") -> list[int]:
        inherited = (watch.fileno(),)
        children = start_each(texts, lambda version: self._start(version, None, inherited))
        for version, child in children.items():
            # The extensions of rules are looked up meanwhile, which takes the longest.
            child.feed(texts[version].removesuffix(_COMMIT).encode("utf-8", "surrogateescape"))
        late = []
        for version, child in children.items():
            # One after the other: transactions at the same moment make iptables start over. And none gets
            # through while another program closes its socket, so that none is to end yet.
            child.feed(_COMMIT.encode())
            if not watch.wait(child.pid, 1, PATIENCE, child.complaints):
                late.append(version)
        for version in late:
            children[version].finish_input()
        finish_announced(child for version, child in children.items() if version not in late)
        return [version for version in late if not children[version].wait_until_silent()]

    def _start(self, version: int, text: str | None, inherit: tuple[int, ...] = ()) -> "Child":
        child = spawn_restore(self._programs[version], self._env, text, inherit)
        self.pids.append(child.pid)
        return child
