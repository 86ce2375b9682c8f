"""Rules of published ports without a register, found by their comments: /run/shibafu was emptied."""

from shibafu.cni.names import IPTABLES, NFTABLES
from shibafu.netfilter.generation import list_legacy_tables
from shibafu.netfilter.presence import Presence
from shibafu.portmap.backends import open_ports
from shibafu.portmap.chains import calc_dnat_chain, is_dnat_chain
from shibafu.portmap.tables import TABLE
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shibafu.cni.request import Request

_TABLES = {4: "ip nat", 6: "ip6 nat"}


def remove_lost(request: "Request", is_leaving: "Callable[[str, str], bool]") -> None:
    """Remove rules without a record.

    Args:
        request: the call.
        is_leaving: whether those of an attachment go, by its key and what stands for its network.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    for backend in _find_backends(request):
        teardown.do(
            open_ports(backend, request.env).sweep, lambda comment: is_leaving(*_read_comment(comment))
        )
    teardown.finish()


def may_be_lost() -> bool:
    """Return whether there may be rules of published ports."""
    with Presence() as presence:
        chains = presence.list_chains()
        return presence.has_table(TABLE) or any(map(is_dnat_chain, chains)) or _uses_legacy()


def _find_backends(request: "Request") -> list[str]:
    """Return the backends that may have rules."""
    found = []
    with Presence() as presence:
        if presence.has_table(TABLE) or any(map(request.config.texts, ("conditionsV4", "conditionsV6"))):
            found.append(NFTABLES)
        chain = calc_dnat_chain(request.network)
        if any(presence.has_chain(table, chain) for table in _TABLES.values()):
            found.append(IPTABLES)
    if IPTABLES not in found and _uses_legacy():
        found.append(IPTABLES)
    return found


def _uses_legacy() -> bool:
    """Return whether the legacy variant of iptables, which netlink does not show, has a table nat."""
    try:
        return any(b"nat" in list_legacy_tables(version) for version in _TABLES)
    except OSError:
        return False


def _read_comment(comment: str) -> tuple[str, str]:
    key, _, rest = comment.partition(" ")
    return key, rest.partition(" ")[0]
