"""All subcommands, in the order of `--help`: a new one is its own file and a name here.

Each is imported when it is asked for: importing all of them takes longer than most of them run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword

from shibafu.cli.subcommand import Subcommand


@dataclass(frozen=True)
class Group:
    """Subcommands behind one word.

    Args:
        folder: where their modules are, in `shibafu.cli`; the word, but for TOP_LEVEL.
        summary: what they are for.
        names: their own words, after which their modules are called.
    """

    folder: str
    summary: str
    names: tuple[str, ...]

    def load(self, name: str) -> Subcommand:
        """Import one of the names."""
        subcommand: Subcommand = import_module(self.find_module(name)).SUBCOMMAND
        return subcommand

    def load_all(self) -> Iterator[Subcommand]:
        """Import all of them."""
        return map(self.load, self.names)

    def find_module(self, name: str) -> str:
        """Return the module of one of the names."""
        module = f"{name}_" if iskeyword(name) else name.replace("-", "_")
        return f"shibafu.cli.{self.folder}.{module}"


# Those for containers are words of their own, as people know them.
TOP_LEVEL = Group("container", "containers", ("run", "exec", "ps", "logs", "stop", "start", "restart", "rm"))
GROUPS = (
    Group("image", "images: import, list, remove", ("import", "ls", "rm")),
    Group(
        "network",
        "networks: list, make, inspect, repair",
        (
            *("ls", "inspect", "create", "rm", "connect", "disconnect", "limit", "check", "gc", "repair"),
            *("pause", "resume", "down", "apply", "export"),
        ),
    ),
    Group(
        "overlay",
        "overlay networks: containers of several hosts in one network",
        ("init", "run", "status", "ls", "inspect", "rm", "rejoin", "doctor"),
    ),
    Group(
        "policy",
        "network policies: who may connect to whom",
        ("apply", "ls", "inspect", "rm", "explain", "matrix", "test", "label"),
    ),
    Group("ipam", "addresses: list, release, reserve", ("ls", "release", "reserve")),
    Group(
        "link",
        "links: bridges, veth pairs, addresses",
        ("create-bridge", "create-veth", "move", "addr", "rm"),
    ),
    Group(
        "engine",
        "the resident engine, which makes calls faster",
        ("run", "start", "stop", "status"),
    ),
    Group(
        "watch",
        "the watcher, which heals networks, and switches from dead cables and routers",
        ("run", "status"),
    ),
)
