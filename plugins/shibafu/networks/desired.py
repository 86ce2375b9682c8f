"""What the containers of a network are made of, by what is kept of how each was attached.

That is the result that its runtime keeps, and the record of shibafu-bridge. The configuration is the one that
the network has now, but for the bridge, which the container stays on.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EROFS
from json import dumps

from shibafu.bridge.addressing import select_own_ips
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.compat.plan import plan_reference_links, plan_reference_rules
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import (
    plan_addresses,
    plan_links,
    plan_passage,
    plan_port_rules,
    plan_rules,
    plan_stated_policies,
)
from shibafu.cni.args import join_args
from shibafu.cni.config import Section
from shibafu.cni.delegate import Installation
from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.request import Request
from shibafu.cni.result import Interface, IPConfig, Result, parse_prev_result
from shibafu.cni.version import DEFAULT, allows_verb
from shibafu.lean.ip import Address, Cidr, parse_cidr
from shibafu.networks.adoption import adopt_chain
from shibafu.networks.chained import AMENDMENTS, PLANS, RefusedPlugin
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.inspect import ATTACHING, DETACHING, GONE, MISSING, RECORD, Endpoint
from shibafu.networks.leases import OwnLease
from shibafu.resource.base import Resource
from shibafu.resource.claim import Claim
from shibafu.resource.netns import Netns
from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState
from shibafu.resource.view import View
from shibafu.runtime.cache import CachedAttachment, cache_list
from shibafu.runtime.derivation import build_config, convert_result
from shibafu_ipam.__main__ import PLUGIN

# The states of containers with which there is nothing to compare, or that a call is at work on.
PASSED_OVER = (GONE, ATTACHING, DETACHING)


@dataclass(frozen=True)
class DesiredEndpoint:
    """What is known about how a container was attached; without a record the claim is None."""

    endpoint: Endpoint
    attachment: Attachment
    result: Result
    claim: Claim | None

    @property
    def is_own(self) -> bool:
        """Whether shibafu attached it: there is a record, or the link on the host has a name that tells."""
        return self.claim is not None or self.endpoint.host_link == self.attachment.host_link


class DesiredState:
    """What is kept of the containers of one network.

    Args:
        network: the network, which is a bridge's.
        plugin_path: the directories of plugins.
        cache_dir: the results that runtimes keep.
        containers: whose results to read; None for all.
    """

    def __init__(
        self,
        network: ConfiguredNetwork,
        plugin_path: list[str],
        cache_dir: str,
        containers: Iterable[str] | None = None,
    ) -> None:
        self._network = network
        self._plugin_path = plugin_path
        listed = (
            cache_list(network.name, one, cache_dir) for one in ([""] if containers is None else containers)
        )
        self._cached = {cached.key[1:]: cached for some in listed for cached in some}
        self.state = NetworkState(network.name)

    def of_endpoint(self, endpoint: Endpoint) -> DesiredEndpoint:
        """Return how a container was attached, by what its runtime kept, or else by its record.

        Raises:
            CniError: what the runtime handed over is refused.
        """
        cached = self.find_cached(endpoint)
        record = self.read_record(endpoint)
        version = self._network.config.cni_version or DEFAULT
        result = self._find_result(endpoint, cached, record, version)
        plugin = self._network.plugin
        if record.bridge:
            # Where it is, whatever the name of the network's bridge is now.
            plugin = {key: value for key, value in plugin.items() if key.lower() != "bridge"}
            plugin["bridge"] = record.bridge
        request = self._make_request(plugin, endpoint, result)
        attachment = Attachment(request, BridgeConfig(request))
        return DesiredEndpoint(endpoint, attachment, result, self.find_claim(endpoint))

    def _make_request(self, plugin: dict[str, object], endpoint: Endpoint, result: Result) -> Request:
        """Return the call of CHECK of a plugin for a container.

        Args:
            plugin: its part of the chain.
            endpoint: the container.
            result: the chain's.
        """
        cached, record = self.find_cached(endpoint), self.read_record(endpoint)
        version = self._network.config.cni_version or DEFAULT
        config = build_config(
            self._network.config,
            plugin,
            result.to_json(version) if result.ips or version not in ("0.1.0", "0.2.0") else None,
            cached.capability_args if cached is not None else find_capabilities(record),
        )
        env = os.environ | {
            "CNI_COMMAND": "CHECK",
            "CNI_CONTAINERID": endpoint.container_id,
            "CNI_IFNAME": endpoint.ifname,
            "CNI_NETNS": endpoint.netns,
            "CNI_PATH": ":".join(self._plugin_path),
            "CNI_ARGS": join_args(cached.cni_args) if cached is not None else record.args,
        }
        return Request("CHECK", env, dumps(config).encode(), Section(config, "NetConf"), version)

    def find_claim(self, endpoint: Endpoint) -> Claim | None:
        """Return the claim to an attachment; None where there is no record of it."""
        if RECORD not in endpoint.sources:
            return None
        return Claim(self.state, endpoint.host_link, self.read_record(endpoint))

    def read_record(self, endpoint: Endpoint) -> Record:
        """Return a container's record; one that says nothing, where there is none."""
        if RECORD not in endpoint.sources:
            return Record(*endpoint.key)
        return self.state.read_attachment(endpoint.host_link)

    def find_cached(self, endpoint: Endpoint) -> CachedAttachment | None:
        """Return what a runtime keeps of a container; None when none keeps anything."""
        return self._cached.get(endpoint.key)

    def _find_result(
        self, endpoint: Endpoint, cached: CachedAttachment | None, record: Record, version: str
    ) -> Result:
        """Return the chain's result, or else the plugin's own, or else what the kernel's links tell."""
        for known in (cached.result if cached is not None else None, record.result):
            if not known:
                continue
            try:
                document: dict[str, object] = {"prevResult": convert_result(known, self._network.config)}
                result = parse_prev_result(Section(document, "NetConf"), version)
            except CniError:
                continue  # somebody has written into it
            if result is not None and (result.ips or not endpoint.addresses):
                return result if known is not record.result else self._amend(endpoint, result)
        own = Interface(endpoint.ifname, endpoint.mac, endpoint.netns)
        addresses = map(parse_cidr, endpoint.addresses)
        ips = [IPConfig(address, self._find_gateway(address), 1) for address in addresses]
        return self._amend(endpoint, Result([Interface(endpoint.host_link), own], ips))

    def _amend(self, endpoint: Endpoint, result: Result) -> Result:
        """Return the bridge plugin's result with what later plugins of the chain have changed."""
        for plugin in self._network.config.plugins:
            name = Section(plugin, "NetConf").text("type")
            amend = AMENDMENTS.get(PLANS.identify(name, ":".join(self._plugin_path)))
            if amend is not None:
                with suppress(CniError):  # a configuration that is now invalid; `plan_chained` reports it
                    amend(self._make_request(plugin, endpoint, result), result)
        return result

    def _find_gateway(self, address: Cidr) -> Address:
        """Return the gateway that was given out with an address, as ADD works it out."""
        return self._network.find_gateway(address.address) or Address(address.version, address.first + 1)

    # What it is made of

    def plan(self, desired: DesiredEndpoint) -> list[Resource]:
        """Return what an attachment is made of, without leases, and what it needs for itself alone."""
        attachment, result, claim = desired.attachment, desired.result, desired.claim
        port = desired.endpoint.host_link or attachment.host_link
        if desired.is_own:
            has_policies = self.state.has_policies()
            port_rules = plan_port_rules(attachment, self.state, result, has_policies, claim)
            return plan_links(attachment, result, port, port_rules, claim)
        links = plan_reference_links(attachment, result, port)
        return links + plan_reference_rules(attachment, self.state, result)

    def plan_chained(self, desired: DesiredEndpoint, view: View) -> list[Resource]:
        """Return what other plugins of the chain have made for a container.

        Args:
            desired: how it was attached.
            view: the host's namespace, including the container's.
        """
        endpoint = desired.endpoint
        if view.inside is None or endpoint.state == MISSING:
            return []  # the bridge plugin's resources have the fault
        planned: list[Resource] = []
        for plugin in adopt_chain(self._network.config, self.find_cached(endpoint)).plugins:
            name = Section(plugin, "NetConf").text("type")
            plan = PLANS.find(name, ":".join(self._plugin_path))
            if plugin == self._network.stated or plan is None:
                continue
            try:
                planned += plan(self._make_request(plugin, endpoint, desired.result), desired.result, view)
            except CniError as error:
                planned.append(RefusedPlugin(name, error))
        return planned

    def plan_leases(self, desired: DesiredEndpoint) -> list[Resource]:
        """Return a container's addresses, of which an IPAM plugin is asked, if the version has CHECK."""
        attachment = desired.attachment
        if not allows_verb(attachment.request.cni_version, "CHECK"):
            return []
        # Without a process for each container, where the plugin is the executable next to this one.
        directory = os.path.dirname(os.path.realpath(sys.executable))
        installation = Installation(directory, {"shibafu-ipam": lambda: PLUGIN})
        leases = plan_addresses(attachment, installation)
        own = [ip.address.address for ip in select_own_ips(attachment.request, desired.result)]
        # Another IPAM plugin's are its own matter.
        addresses = [address for address in own if self._network.find_gateway(address) is not None]
        owner, netns = desired.endpoint.key, desired.endpoint.netns
        return [OwnLease(lease, self._network, owner, netns, addresses) for lease in leases]

    def plan_shared(self, everything: list[DesiredEndpoint]) -> list[Resource]:
        """Return what all containers need together: rules, and that these let through what they are to."""
        if not everything:
            return []
        attachment = everything[0].attachment
        # Other plugins' DEL would not remove them.
        own = [desired for desired in everything if desired.is_own]
        rules = plan_rules(attachment, self.state, _join_addresses(own), self.state.has_policies())
        stated = plan_stated_policies(attachment.config)
        return [*stated, *rules, *plan_passage(attachment, _join_addresses(everything), rules)]


def find_capabilities(record: Record) -> dict[str, object]:
    """Return what the runtime handed over by capabilities, as far as the record tells."""
    runtime_config = Section(record.config or {}, "NetConf").get("runtimeConfig")
    return runtime_config if isinstance(runtime_config, dict) else {}


def _join_addresses(everything: list[DesiredEndpoint]) -> Result:
    """Return the addresses of all containers, as if they were one's."""
    return Result(ips=[IPConfig(ip.address) for desired in everything for ip in desired.result.ips])


@contextmanager
def open_beside(view: View, netns: str) -> Iterator[View]:
    """Yield the view together with a container's namespace; without it, where that cannot be opened."""
    try:
        container = Netns(netns)
    except OSError:
        yield view
        return
    with container:
        yield view.beside(container)


@contextmanager
def hold_claim(claim: Claim | None) -> Iterator[bool]:
    """Keep other calls from attaching or repairing a container; yield whether none was at work on it."""
    with ExitStack() as stack:
        is_free = True
        if claim is not None:
            try:
                stack.enter_context(claim.lock(patience=0))
            except CniError as error:
                if error.code != TRY_AGAIN_LATER:
                    raise
                is_free = False
            except OSError as error:
                # Where no lock can be made, no other call can attach anything, either.
                if error.errno != EROFS:
                    raise
        yield is_free
