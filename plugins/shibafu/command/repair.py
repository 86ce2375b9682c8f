"""Finding and mending what a network's containers lost, by the same description as CHECK.

A firewall is flushed or reloaded, a bridge is deleted by hand, and the containers keep running at the far
ends of cables that lead nowhere. What was there is known from the configuration, from shibafu-bridge's
records and from cached results. Containers are not restarted, and keep their addresses.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from json import dumps

from shibafu.bridge.addressing import select_own_ips
from shibafu.bridge.attachment import Attachment
from shibafu.bridge.compat.plan import plan_reference_links, plan_reference_rules
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.plan import plan_addresses, plan_guards, plan_links, plan_passage, plan_rules
from shibafu.bridge.resources.network import NetworkRecord
from shibafu.cni.args import join_args, split_args
from shibafu.cni.config import Section
from shibafu.cni.delegate import Installation
from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.ip import Address, Cidr, parse_cidr
from shibafu.cni.request import Request
from shibafu.cni.result import Interface, IPConfig, Result, parse_prev_result
from shibafu.cni.version import DEFAULT, allows_verb
from shibafu.command.attaching import Caller
from shibafu.command.errors import CommandError
from shibafu.command.networks import ConfiguredNetwork
from shibafu.command.own_lease import OwnLease
from shibafu.command.survey import ATTACHING, DETACHING, GONE, MISSING, RECORD, Endpoint
from shibafu.resource.base import ATTACHMENT, HOST, NETWORK, Resource
from shibafu.resource.claim import Claim
from shibafu.resource.mending import mend
from shibafu.resource.netns import Netns
from shibafu.resource.record import Record
from shibafu.resource.records import NetworkState
from shibafu.resource.teardown import Teardown
from shibafu.resource.view import View, open_view
from shibafu.runtime.cache import Attachment as Cached
from shibafu.runtime.cache import cache_list, cache_write
from shibafu.runtime.conflist import NetworkList
from shibafu.runtime.derivation import build_config, convert_result

_ORDER = {HOST: 0, ATTACHMENT: 1, NETWORK: 2}
# What is said of an attachment that a call was to make, or to remove, and did not.
_UNFINISHED = {
    ATTACHING: "interface {} was not attached to the end",
    DETACHING: "interface {} was not detached to the end",
}
_DETACH = "the call was killed, or is at work; otherwise disconnect the container, or have its runtime do so"


@dataclass(frozen=True)
class Fault:
    """Something that a network lacks.

    Args:
        network: the network.
        containerID: the container that lacks it; empty where it is a matter of all.
        what: in words: "bridge br-blue is missing".
        advice: what to do about it where nothing else helps; empty where a repair does.
    """

    network: str
    containerID: str  # noqa: N815 - so it is called for programs
    what: str
    advice: str


@dataclass(frozen=True)
class _Made:
    """What is known of how a container was attached; the claim is None where another plugin attached it."""

    endpoint: Endpoint
    attachment: Attachment
    result: Result
    claim: Claim | None


class Repair:
    """The repair of one network.

    Args:
        network: the network.
        caller: calls plugins.

    Raises:
        CommandError: it is not a network of a bridge.
    """

    def __init__(self, network: ConfiguredNetwork, caller: Caller) -> None:
        if network.problem:
            raise CommandError(f"its configuration is refused: {network.problem}", network.config.path)
        if network.bridge is None:
            raise CommandError(
                f"network {network.name} is not made by a bridge plugin but by {', '.join(network.types)}",
                "disconnect its containers and connect them again",
            )
        self._network = network
        self._caller = caller
        cached = cache_list(network.name, directory=caller.runtime.cache_dir)
        self._cached = {(attachment.container_id, attachment.ifname): attachment for attachment in cached}
        self._state = NetworkState(network.name)

    def find_faults(self) -> list[Fault]:
        """Return what is wrong, changing nothing; a network without containers lacks nothing."""
        found: dict[Fault, int] = {}
        with open_view() as view:
            for made, resource, beside in self._walk(view):
                for fault in self._look(made, resource, beside):
                    found.setdefault(fault, _ORDER[resource.scope])
        return sorted(found, key=lambda fault: found[fault]) + self._find_unfinished()

    def run(self) -> None:
        """Mend what can be mended.

        Raises:
            CniError: what was refused; all else is mended.
        """
        steps = Teardown()
        mended: list[_Made] = []
        with open_view() as view:
            everything = self._find_made()
            for made, resource, beside in self._walk_containers(everything, view):
                steps.do(_mend, made, resource, beside, mended)
            for resource in self._plan_network(everything):
                steps.do(mend, resource, view, None)
            for made in self._find_made():
                if made.endpoint.state == MISSING:
                    steps.do(self._attach_again, made.endpoint)
        if self._network.bridge is not None:
            # The last container may have been detached meanwhile.
            steps.do(NetworkRecord(self._state, self._network.bridge, os.environ).remove)
        steps.finish()

    def _walk(self, view: View) -> Iterator[tuple[_Made, Resource, View]]:
        """Yield every resource of every container.

        What is shared by the network's containers comes last, once for all of them.
        """
        everything = self._find_made()
        yield from self._walk_containers(everything, view)
        for resource in self._plan_network(everything):
            yield everything[0], resource, view

    def _walk_containers(self, everything: list[_Made], view: View) -> Iterator[tuple[_Made, Resource, View]]:
        for made in everything:
            with _hold(made.claim) as is_free, _beside(view, made.endpoint.netns) as beside:
                is_there = is_free and (made.claim is None or made.claim.holds())
                for resource in self._plan(made) if is_there else ():
                    yield made, resource, beside

    def _look(self, made: _Made, resource: Resource, view: View) -> Iterator[Fault]:
        container_id = made.endpoint.container_id if resource.scope == ATTACHMENT else ""
        try:
            for fault in resource.faults(view):
                advice = "" if fault.is_mendable else fault.advice
                yield Fault(self._network.name, container_id, fault.what, advice)
        except CniError as error:
            yield Fault(self._network.name, container_id, error.msg, error.details)

    # What was made

    def _find_made(self) -> list[_Made]:
        """Return the containers that are attached, and that no other call is at work on."""
        endpoints = self._caller.find_endpoints(self._network)
        passed_over = (GONE, ATTACHING, DETACHING)
        return [self._recall(endpoint) for endpoint in endpoints if endpoint.state not in passed_over]

    def _find_unfinished(self) -> list[Fault]:
        """Return what calls that were killed have left half made, or half removed."""
        faults = []
        for endpoint in self._caller.find_endpoints(self._network):
            what = _UNFINISHED.get(endpoint.state)
            with _hold(self._find_claim(endpoint)) as is_free:
                if what is not None and is_free:
                    what = what.format(endpoint.ifname)
                    faults.append(Fault(self._network.name, endpoint.container_id, what, _DETACH))
        return faults

    def _recall(self, endpoint: Endpoint) -> _Made:
        """Return how a container was attached, by what its runtime kept, or else by its record."""
        cached = self._cached.get(endpoint.key)
        record = self._read_record(endpoint)
        version = self._network.config.cni_version or DEFAULT
        result = self._find_result(endpoint, cached, record, version)
        config = build_config(
            self._network.config,
            self._network.plugin,
            result.to_json(version) if result.ips or version not in ("0.1.0", "0.2.0") else None,
            cached.capability_args if cached is not None else _find_capabilities(record),
        )
        env = os.environ | {
            "CNI_COMMAND": "CHECK",
            "CNI_CONTAINERID": endpoint.container_id,
            "CNI_IFNAME": endpoint.ifname,
            "CNI_NETNS": endpoint.netns,
            "CNI_PATH": ":".join(self._caller.runtime.plugin_path),
            "CNI_ARGS": join_args(cached.cni_args) if cached is not None else record.args,
        }
        request = Request("CHECK", env, dumps(config).encode(), Section(config, "NetConf"), version)
        attachment = Attachment(request, BridgeConfig(request))
        return _Made(endpoint, attachment, result, self._find_claim(endpoint))

    def _find_claim(self, endpoint: Endpoint) -> Claim | None:
        """Return the claim to an attachment; None where another plugin made it."""
        if RECORD not in endpoint.sources:
            return None
        return Claim(self._state, endpoint.host_link, self._read_record(endpoint))

    def _read_record(self, endpoint: Endpoint) -> Record:
        """Return a container's record; one that says nothing, where there is none."""
        if RECORD not in endpoint.sources:
            return Record(*endpoint.key)
        return self._state.read_attachment(endpoint.host_link)

    def _find_result(self, endpoint: Endpoint, cached: Cached | None, record: Record, version: str) -> Result:
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
                return result
        own = Interface(endpoint.ifname, endpoint.mac, endpoint.netns)
        addresses = map(parse_cidr, endpoint.addresses)
        ips = [IPConfig(address, self._find_gateway(address), 1) for address in addresses]
        return Result([Interface(endpoint.host_link), own], ips)

    def _find_gateway(self, address: Cidr) -> Address:
        """Return the gateway that was given out with an address, as ADD works it out."""
        return self._network.find_gateway(address.address) or Address(address.version, address.first + 1)

    # What it is made of

    def _plan(self, made: _Made) -> list[Resource]:
        attachment, endpoint = made.attachment, made.endpoint
        port = endpoint.host_link or attachment.host_link
        leases = self._plan_leases(made)
        if made.claim is not None:
            guards = plan_guards(attachment, self._state)
            return [*plan_links(attachment, made.result, port, guards, made.claim), *leases]
        links = plan_reference_links(attachment, made.result, port)
        return [*links, *leases, *plan_reference_rules(attachment, self._state, made.result)]

    def _plan_leases(self, made: _Made) -> list[Resource]:
        attachment = made.attachment
        if not allows_verb(attachment.request.cni_version, "CHECK"):
            return []
        leases = plan_addresses(attachment, Installation(self._caller.runtime.plugin_path[0], {}))
        own = [ip.address.address for ip in select_own_ips(attachment.request, made.result)]
        # Another IPAM plugin's are its own matter.
        addresses = [address for address in own if self._network.find_gateway(address) is not None]
        owner, netns = made.endpoint.key, made.endpoint.netns
        return [OwnLease(lease, self._network, owner, netns, addresses) for lease in leases]

    def _plan_network(self, everything: list[_Made]) -> list[Resource]:
        """Return the rules that all containers need together."""
        if not everything:
            return []
        attachment = everything[0].attachment
        # Other plugins' DEL would not remove them.
        own = [made for made in everything if made.claim is not None]
        rules = plan_rules(attachment, self._state, _join_addresses(own))
        return rules + plan_passage(attachment, _join_addresses(everything))

    def _attach_again(self, endpoint: Endpoint) -> None:
        """Give a container that lost its link the same one again, by the plugins: DEL, then ADD."""
        cached = self._cached.get(endpoint.key)
        record = self._read_record(endpoint)
        capabilities = dict(cached.capability_args) if cached is not None else _find_capabilities(record)
        args = dict(cached.cni_args) if cached is not None else split_args(record.args)
        addresses = [address.partition("/")[0] for address in endpoint.addresses]
        network = self._network.config
        if addresses and self._network.declares("ips"):
            capabilities["ips"] = addresses
        elif addresses and self._network.range_sets:
            # CNI_ARGS have room for one.
            args.pop("IP", None)
            network = _request(self._network, {"ips": addresses})
        runtime = self._caller.runtime
        with runtime.lock_container(endpoint.container_id):
            self._caller.detach(self._network, endpoint)
            try:
                runtime.add(
                    network,
                    endpoint.container_id,
                    endpoint.netns,
                    endpoint.ifname,
                    args,
                    capabilities,
                )
            except CniError as error:
                if cached is not None:
                    # It is still to be repaired, and its runtime still to detach it.
                    cache_write(cached, runtime.cache_dir)
                what = f"cannot attach {endpoint.container_id}, {endpoint.ifname} again: {error.msg}"
                raise CniError(error.code, what, error.details) from None


def _request(network: ConfiguredNetwork, wanted: dict[str, object]) -> NetworkList:
    """Return a network by which a container gets certain addresses; it is kept as the one that it is of."""
    stated = Section(network.plugin, "NetConf").section("args")
    arguments = stated.values | {"cni": stated.section("cni").values | wanted}
    others = {key: value for key, value in network.plugin.items() if key.lower() != "args"}
    config = copy(network.config)
    config.plugins = [
        others | {"args": arguments} if plugin is network.plugin else plugin for plugin in config.plugins
    ]
    return config


def _find_capabilities(record: Record) -> dict[str, object]:
    """Return what the runtime handed over by capabilities, as far as the record tells."""
    runtime_config = Section(record.config or {}, "NetConf").get("runtimeConfig")
    return runtime_config if isinstance(runtime_config, dict) else {}


def _mend(made: _Made, resource: Resource, view: View, mended: list[_Made]) -> None:
    """Mend a resource, and add whose it is to those of which something was mended.

    What is to come after all others of its container comes after what was mended of them, too: it waits until
    packets get through, and tells neighbours.
    """
    is_next = resource.is_barrier and made.endpoint.state != MISSING and made in mended
    was_tried = True
    try:
        was_tried = mend(resource, view, made.claim, is_next)
    finally:
        if was_tried:
            mended.append(made)


@contextmanager
def _hold(claim: Claim | None) -> Iterator[bool]:
    """Keep other calls from attaching or mending a container; yield whether none was at it already."""
    with ExitStack() as stack:
        is_free = True
        if claim is not None:
            try:
                stack.enter_context(claim.lock(patience=0))
            except CniError as error:
                if error.code != TRY_AGAIN_LATER:
                    raise
                is_free = False
        yield is_free


def _join_addresses(everything: list[_Made]) -> Result:
    """Return the addresses of all containers, as if they were one's."""
    return Result(ips=[IPConfig(ip.address) for made in everything for ip in made.result.ips])


@contextmanager
def _beside(view: View, netns: str) -> Iterator[View]:
    """Yield the view with a container's namespace beside it; without, where that cannot be opened."""
    try:
        container = Netns(netns)
    except OSError:
        yield view
        return
    with container:
        yield view.beside(container)
