"""The reference's own specs of the chained plugins: how many there are, which do not hold for ours, and why.

`tests/long/test_reference_specs.py` runs them; this is what it expects.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Specs:
    """The specs of a plugin in Debian's release 1.1.1.

    Args:
        plugin: the reference's name of it.
        specs: how many there are; all of them hold for the reference.
        inner: how many of them test functions of it alone, which no executable has.
        renamed: what is given another name in them for ours; empty if nothing is.
    """

    plugin: str
    specs: int
    inner: int = 0
    renamed: str = ""


@dataclass(frozen=True)
class Unmet:
    """Specs that do not hold for ours.

    Args:
        plugin: the reference's name of it.
        pattern: the specs' names, as in fnmatch(3).
        count: how many they are.
        reason: why.
    """

    plugin: str
    pattern: str
    count: int
    reason: str

    def covers(self, spec: str) -> bool:
        """Return whether it is about a spec of the plugin."""
        return fnmatchcase(spec, self.pattern)


SUITES = (
    Specs(
        "bandwidth",
        49,
        1,
        "The link that delays what a container sends: its name depends on the interface, too, of which a "
        "container may have several on one network.",
    ),
    Specs(
        "firewall",
        33,
        0,
        "The chain that accepts containers' packets: each network has its own, after CNI-FORWARD.",
    ),
    Specs("loopback", 12),
    Specs("portmap", 44, 36, "The chain of a container's ports: there is one for each network."),
    Specs("tuning", 48),
)
UNMET = (
    Unmet(
        "firewall",
        "* [[]0.3.[01][]] *",
        16,
        "Versions before 0.4.0 are refused, as by the reference's executable: the specs skip the function "
        "that does it.",
    ),
    Unmet(
        "firewall",
        "* [[][01].[04].0[]] *cleans up on delete",
        2,
        "CNI-FORWARD and CNI-ADMIN are removed with the last container; the specs expect them to be left "
        "behind.",
    ),
    Unmet(
        "loopback",
        "* [[]1.0.0[]] sets the lo device to UP",
        1,
        "The spec looks for `{}`, the empty `dns` of a result of 1.0.0, which newer releases leave out, too.",
    ),
)


def find_unmet(plugin: str) -> tuple[Unmet, ...]:
    """Return what does not hold for one of our plugins."""
    return tuple(unmet for unmet in UNMET if unmet.plugin == plugin)
