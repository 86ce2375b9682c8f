"""Finding and repairing what a network's containers lost, by the same description as CHECK.

A firewall is flushed or reloaded, a bridge is deleted by hand, and the containers keep running at the far
ends of cables that lead nowhere. What was there is known from the configuration, from shibafu-bridge's
records and from cached results. Containers are not restarted, and keep their addresses.
"""

import os
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

from shibafu.bridge.resources.network import NetworkRecord
from shibafu.cni.args import split_args
from shibafu.cni.config import Section
from shibafu.cni.errors import CniError
from shibafu.networks.adoption import adopt_chain
from shibafu.networks.attachments import Caller
from shibafu.networks.chained import choose_view
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.desired import (
    PASSED_OVER,
    DesiredEndpoint,
    DesiredState,
    find_capabilities,
    hold_claim,
    open_beside,
)
from shibafu.networks.errors import CommandError
from shibafu.networks.inspect import ATTACHING, DETACHING, MISSING, Endpoint
from shibafu.resource.base import ATTACHMENT, HOST, NETWORK, NOT_CHECKED, Resource
from shibafu.resource.mending import mend
from shibafu.resource.teardown import Teardown
from shibafu.resource.view import View, open_view
from shibafu.runtime.cache import cache_write
from shibafu.runtime.conflist import NetworkList

_Steps = Iterator[tuple[DesiredEndpoint, Resource, View]]
_ORDER = {HOST: 0, ATTACHMENT: 1, NETWORK: 2}
# What is said of an attachment that a call was to make, or to remove, and did not.
_UNFINISHED = {
    ATTACHING: "interface {} is only partly attached",
    DETACHING: "interface {} is only partly detached",
}
_DETACH = (
    "its call was killed or is still running; if it was killed, "
    "disconnect the container or let its runtime detach it"
)


@dataclass(frozen=True)
class NetworkFault:
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
            raise CommandError(f"its configuration is invalid: {network.problem}", network.advice)
        if network.bridge is None:
            raise CommandError(
                f"network {network.name} is not created by a bridge plugin but by {', '.join(network.types)}",
                "disconnect its containers and connect them again",
            )
        self._network = network
        self._caller = caller
        self._desired_state = self._open_desired_state()

    def _open_desired_state(self) -> DesiredState:
        runtime = self._caller.runtime
        return DesiredState(self._network, runtime.plugin_path, runtime.cache_dir)

    def find_faults(self) -> list[NetworkFault]:
        """Return what is wrong, changing nothing; a network without containers lacks nothing."""
        # A repair may have attached a container again, and changed what is kept of it.
        self._desired_state = self._open_desired_state()
        found: dict[NetworkFault, int] = {}
        with open_view() as view:
            for made, resource, beside in self._walk(view):
                for fault in self._look(made, resource, beside):
                    found.setdefault(fault, _ORDER[resource.scope])
        return sorted(found, key=lambda fault: found[fault]) + self._find_moved() + self._find_unfinished()

    def run(self) -> None:
        """Repair what can be repaired.

        Raises:
            CniError: what was refused; all else is repaired.
        """
        steps = Teardown()
        mended: list[DesiredEndpoint] = []
        with open_view() as view:
            everything = self._find_made()
            for made, resource, beside in self._walk_containers(everything, view):
                steps.do(_mend, made, resource, beside, mended)
            for resource in self._desired_state.plan_shared(everything):
                steps.do(mend, resource, view, None)
            for made in self._find_made():
                if made.endpoint.state == MISSING:
                    steps.do(self._attach_again, made.endpoint)
        if self._network.bridge is not None:
            # The last container may have been detached meanwhile.
            steps.do(NetworkRecord(self._desired_state.state, self._network.bridge, os.environ).remove)
        steps.finish()

    def _walk(self, view: View) -> _Steps:
        """Yield every resource of every container.

        What is shared by the network's containers comes last, once for all of them.
        """
        everything = self._find_made()
        yield from self._walk_containers(everything, view)
        for resource in self._desired_state.plan_shared(everything):
            yield everything[0], resource, view

    def _walk_containers(self, everything: list[DesiredEndpoint], view: View) -> _Steps:
        for made in everything:
            with hold_claim(made.claim) as is_free, open_beside(view, made.endpoint.netns) as beside:
                if is_free and (made.claim is None or made.claim.holds()):
                    state = self._desired_state
                    for resource in state.plan(made):
                        yield made, resource, choose_view(resource, beside)
                    # Only now: what further plugins have made of a port shows once it is one again.
                    for resource in state.plan_chained(made, beside) + state.plan_leases(made):
                        yield made, resource, choose_view(resource, beside)

    def _look(self, made: DesiredEndpoint, resource: Resource, view: View) -> Iterator[NetworkFault]:
        container_id = made.endpoint.container_id if resource.scope == ATTACHMENT else ""
        try:
            for fault in resource.faults(view):
                advice = "" if fault.is_mendable else fault.advice
                yield NetworkFault(self._network.name, container_id, fault.what, advice)
        except CniError as error:
            yield NetworkFault(self._network.name, container_id, error.msg, error.details)
        except OSError as error:
            yield NetworkFault(self._network.name, container_id, str(error), NOT_CHECKED)

    def _find_made(self) -> list[DesiredEndpoint]:
        """Return the containers that are attached, and that no other call is at work on."""
        endpoints = self._caller.find_endpoints(self._network)
        return [self._desired_state.of_endpoint(one) for one in endpoints if one.state not in PASSED_OVER]

    def _find_moved(self) -> list[NetworkFault]:
        """Return which containers stay on a bridge that is no longer the network's."""
        now = self._network.bridge.bridge if self._network.bridge is not None else ""
        return [
            NetworkFault(
                self._network.name,
                made.endpoint.container_id,
                f"interface {made.endpoint.ifname} is on bridge {made.attachment.config.bridge}, but the "
                f"network's bridge is now {now}",
                "disconnect the container and connect it again, or restore the network's bridge",
            )
            for made in self._find_made()
            if made.attachment.config.bridge != now
        ]

    def _find_unfinished(self) -> list[NetworkFault]:
        """Return what calls that were killed have left half made, or half removed."""
        faults = []
        for endpoint in self._caller.find_endpoints(self._network):
            what = _UNFINISHED.get(endpoint.state)
            if what is None:
                continue
            with hold_claim(self._desired_state.find_claim(endpoint)) as is_free:
                if is_free:
                    what = what.format(endpoint.ifname)
                    faults.append(NetworkFault(self._network.name, endpoint.container_id, what, _DETACH))
        return faults

    def _attach_again(self, endpoint: Endpoint) -> None:
        """Give a container that lost its link the same one again, by the plugins: DEL, then ADD."""
        cached = self._desired_state.find_cached(endpoint)
        record = self._desired_state.read_record(endpoint)
        capabilities = dict(cached.capability_args) if cached is not None else find_capabilities(record)
        args = dict(cached.cni_args) if cached is not None else split_args(record.args)
        addresses = [address.partition("/")[0] for address in endpoint.addresses]
        network = adopt_chain(self._network.config, cached)
        if addresses and self._network.declares("ips"):
            capabilities["ips"] = addresses
        elif addresses and self._network.range_sets:
            # CNI_ARGS have room for one.
            args.pop("IP", None)
            network = _request(self._network, network, {"ips": addresses})
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


def _request(network: ConfiguredNetwork, chain: NetworkList, wanted: dict[str, object]) -> NetworkList:
    """Return a chain by which a container gets certain addresses; it is kept as the one that it is of."""
    stated = Section(network.stated, "NetConf").section("args")
    arguments = stated.values | {"cni": stated.section("cni").values | wanted}
    others = {key: value for key, value in network.stated.items() if key.lower() != "args"}
    config = copy(chain)
    config.plugins = [
        others | {"args": arguments} if plugin == network.stated else plugin for plugin in config.plugins
    ]
    return config


def _mend(made: DesiredEndpoint, resource: Resource, view: View, mended: list[DesiredEndpoint]) -> None:
    """Repair a resource, and add its owner to those of which something was repaired.

    The resource that comes after all others of its container is ensured again after a repair of any of them:
    it waits until packets get through, and informs neighbours.
    """
    is_next = resource.is_barrier and made.endpoint.state != MISSING and made in mended
    was_tried = True
    try:
        was_tried = mend(resource, view, made.claim, is_next)
    finally:
        if was_tried:
            mended.append(made)
