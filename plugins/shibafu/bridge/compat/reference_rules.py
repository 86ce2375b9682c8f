"""The rules that the reference's plugins made for one container, as resources."""

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.compat.orphans import uses_nft
from shibafu.bridge.compat.reference import has_reference_masquerade, teardown_reference_masquerade
from shibafu.resource.base import NETWORK, RULES, Fault, Resource, find_faults
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.compat.reference_nft import ReferenceTables
    from shibafu.cni.result import IPConfig, Result
    from shibafu.netfilter.listing import Listing
    from shibafu.resource.records import NetworkState
    from shibafu.resource.view import View


class ReferenceMasquerade(Resource):
    """Masquerading of the container's addresses.

    Args:
        attachment: whose.
        listing: what iptables lists of what leads to chains.
    """

    __slots__ = ("_attachment", "_listing")
    medium = RULES

    def __init__(self, attachment: Attachment, listing: "Listing") -> None:
        self._attachment = attachment
        self._listing = listing

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: everything that could not be removed.
        """
        config, request = self._attachment.config, self._attachment.request
        teardown = Teardown()
        teardown.do(self._remove_chain)
        if config.mac_spoof_check or uses_nft(config, request.env):
            tables = _open_tables(request.env)
            teardown.do(tables.teardown_masquerade, config.network, request.container_id, request.ifname)
        teardown.finish()

    def _remove_chain(self) -> None:
        request = self._attachment.request
        teardown_reference_masquerade(self._listing, request.network, [request.container_id])


class ReferenceSpoofCheck(Resource):
    """The chains of the MAC spoof check of the container's port.

    Args:
        attachment: whose.
        port: the link on the host; empty when unknown.
    """

    __slots__ = ("_attachment", "_port")
    medium = RULES

    def __init__(self, attachment: Attachment, port: str = "") -> None:
        self._attachment = attachment
        self._port = port

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        request = self._attachment.request
        tables = _open_tables(request.env)
        if tables.is_spoof_checked(request.container_id, request.ifname, self._port):
            return []
        from shibafu.bridge.resources.spoofcheck import find_missing_check

        return [_name_only(find_missing_check(self._port, "chains of nftables were removed"))]

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"port": self._port}

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: nft refused.
        """
        request = self._attachment.request
        _open_tables(request.env).teardown_spoof_checks([(request.container_id, request.ifname)])


class ReferenceRules(Resource):
    """The rules that a container needs: its own, which the reference made, or the network's.

    The network's, which are there as soon as shibafu has attached a container, are as good. They are not made
    for this one, as the reference's DEL would not remove them.

    Args:
        attachment: whose.
        state: the network's records.
        result: what the network gave the container.
    """

    __slots__ = ("_attachment", "_result", "_state")
    medium = RULES
    scope = NETWORK

    def __init__(self, attachment: Attachment, state: "NetworkState", result: "Result") -> None:
        self._attachment = attachment
        self._state = state
        self._result = result

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        attachment, result = self._attachment, self._result
        if not attachment.config.isolate and _has_own_rules(attachment, result):
            return []
        from shibafu.bridge.plan import plan_rules

        rules = plan_rules(attachment, self._state, result, self._state.has_policies())
        return list(map(_name_only, find_faults(rules, view)))

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"subnets": [str(ip.address.network) for ip in _select_ips(self._attachment, self._result)]}


def _name_only(fault: Fault) -> Fault:
    """Return a fault of what we do not make."""
    advice = "the reference plugin made them and shibafu does not make them again: attach the container again"
    return Fault(fault.what, advice, is_mendable=False)


def _select_ips(attachment: Attachment, result: "Result") -> "list[IPConfig]":
    from shibafu.bridge.addressing import select_own_ips

    return select_own_ips(attachment.request, result)


def _has_own_rules(attachment: Attachment, result: "Result") -> bool:
    """Return whether the container's addresses are masqueraded by rules that the reference made."""
    request, network = attachment.request, attachment.config.network
    addresses = [ip.address.address for ip in _select_ips(attachment, result)]
    if has_reference_masquerade(network, request.container_id, addresses, request.env):
        return True
    tables = _open_tables(request.env)
    return tables.has_masquerade(network, request.container_id, request.ifname, list(map(str, addresses)))


def _open_tables(env: "Mapping[str, str]") -> "ReferenceTables":
    from shibafu.bridge.compat.reference_nft import ReferenceTables

    return ReferenceTables(env)
