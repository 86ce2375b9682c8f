"""Which program puts a network's rules into the kernel: the key `ipMasqBackend`."""

import os
import sys

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import IPTABLES, NFTABLES
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.network_rulesets import PROGRAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shibafu.netfilter.iptables import Iptables
    from shibafu.netfilter.network_rulesets import NetworkRules
    from shibafu.netfilter.nftables import Nftables
    from shibafu.netfilter.verification import Place

    Backend = Iptables | Nftables

# There if the kernel has the family at all.
_SWITCHES = {4: "/proc/sys/net/ipv4", 6: "/proc/sys/net/ipv6"}


def choose_backend(wanted: str, env: "Mapping[str, str]") -> str:
    """Return the backend that is configured; by default iptables, unless only nft is installed.

    Raises:
        CniError: there is no backend of that name.
    """
    if wanted in (IPTABLES, NFTABLES):
        return wanted
    if wanted:
        raise CniError(
            INVALID_CONFIG,
            f'unknown ipmasq backend "{wanted}"',
            f'"ipMasqBackend" must be {IPTABLES} or {NFTABLES}',
        )
    path = env.get("PATH", "")
    if find_program("iptables-restore", path) is None and find_program("nft", path) is not None:
        return NFTABLES
    return IPTABLES


def open_backend(name: str, rules: "NetworkRules", env: "Mapping[str, str]") -> "Backend":
    """Return the backend with the rulesets of a network.

    Raises:
        CniError: a program that it needs is not installed.
    """
    if name == NFTABLES:
        from shibafu.netfilter.network_tables import calc_nftables
        from shibafu.netfilter.nftables import Nftables

        return Nftables(calc_nftables(rules), env)
    from shibafu.netfilter.iptables import Iptables
    from shibafu.netfilter.network_rulesets import calc_iptables

    versions = list_versions(rules)
    return Iptables({version: calc_iptables(rules, version) for version in versions}, rules.network, env)


def identify_programs(name: str, versions: list[int], env: "Mapping[str, str]") -> str:
    """Return what identifies the programs of a backend; empty if one is not installed.

    Args:
        name: the backend.
        versions: the families of which iptables has rulesets.
        env: the environment.
    """
    programs = [PROGRAMS[version] for version in versions] if name == IPTABLES else ["nft"]
    paths = [find_program(program, env.get("PATH", "")) for program in programs]
    try:
        files = [os.stat(path) for path in paths if path is not None]
    except OSError:
        return ""  # it is being replaced
    if None in paths:
        return ""
    return " ".join(map(_identify, files))


def _identify(file: os.stat_result) -> str:
    # One that is written over keeps its inode.
    return f"{file.st_dev}:{file.st_ino}:{file.st_ctime_ns}"


def _identify_code() -> str:
    own = globals().get("__file__")
    try:
        # Modules of the executables have no file; the interpreter next to them is copied with each build.
        return _identify(os.stat(os.path.dirname(own) if own else sys.executable))
    except OSError:
        return ""  # it has just been replaced


# What tells this folder's code from that of other versions, which may make other rules of the same needs: as
# it was when it was loaded, which in the engine may be long ago.
CODE = _identify_code()


def list_versions(rules: "NetworkRules") -> list[int]:
    """Return the families of which a network has rulesets of iptables."""
    return [v for v in rules.versions() if rules.of_version(v) or os.path.lexists(_SWITCHES[v])]


def list_chains(rules: "NetworkRules") -> "Iterator[Place]":
    """Yield the chains of iptables that a look at a network's rules compares."""
    from shibafu.netfilter.network_rulesets import calc_iptables

    for version in list_versions(rules):
        for chain in calc_iptables(rules, version).chains:
            yield version, chain.table, chain.hook
            yield version, chain.table, chain.name
        yield version, "filter", "FORWARD"
