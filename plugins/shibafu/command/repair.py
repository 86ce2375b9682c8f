"""Rebuilding what a network lost: its bridge, the bridge's ports and addresses, its rules.

A firewall is flushed or reloaded, a bridge is deleted by hand, and the containers keep running at the far
ends of cables that lead nowhere. What was there is known from the configuration, from shibafu-bridge's
records and from cached results; the functions that ADD uses make sure that it is there again.
"""

import os
from dataclasses import dataclass
from typing import Any

from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.overruled import find_overruling_drop
from shibafu.bridge.resources.fabric import ensure_bridge, ensure_gateway
from shibafu.bridge.resources.internal import (
    calc_internal_port,
    calc_open_port,
    ensure_barrier,
    is_internal_port,
)
from shibafu.bridge.resources.masquerade import Masquerade, find_needs
from shibafu.bridge.resources.spoofcheck import ensure_guard
from shibafu.bridge.resources.vlans import calc_port_vlans, setup_port_vlans
from shibafu.cni.ip import Address, Cidr, parse_address, parse_cidr
from shibafu.cni.names import INTERNAL_GROUP, ISOLATED_GROUP
from shibafu.command.attaching import Caller
from shibafu.command.errors import CommandError
from shibafu.command.networks import ConfiguredNetwork
from shibafu.command.survey import GONE, MISSING, RECORD, Endpoint
from shibafu.netfilter.backend import choose_backend, open_backend
from shibafu.netfilter.barrier import Barrier
from shibafu.netfilter.forwarding import is_forwarding, is_link_forwarding, routes_loopback
from shibafu.netfilter.rules import NetworkRules
from shibafu.netfilter.spoofing import SpoofGuard
from shibafu.netlink.address import addr_list
from shibafu.netlink.link import Link, link_by_name, link_set, link_set_port
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState
from shibafu.runtime.cache import Attachment, cache_list


@dataclass(frozen=True)
class Fault:
    """Something that a network lacks.

    Args:
        network: the network.
        what: in words: "bridge br-blue is missing".
    """

    network: str
    what: str


class Repair:
    """The repair of one network; its containers are not restarted, and keep their addresses.

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
        self._config: BridgeConfig = network.bridge
        self._caller = caller
        cached = cache_list(network.name, directory=caller.runtime.cache_dir)
        self._cached = {(attachment.container_id, attachment.ifname): attachment for attachment in cached}
        self._state = NetworkState(network.name)

    def find_faults(self) -> list[Fault]:
        """Return what is not as it shall be, changing nothing; a network without containers lacks nothing."""
        endpoints = self._living()
        if not endpoints:
            return []
        with NetlinkSocket() as sock:
            whats = self._find_bridge_faults(sock, endpoints)
            bridge = link_by_name(sock, self._config.bridge)
            for endpoint in endpoints:
                whats += self._find_port_faults(sock, endpoint, bridge)
        if self._config.internal and not self._barrier().is_whole():
            whats.append("the barrier to the host is missing")
        whats += self._find_rule_faults(endpoints)
        whats += self._find_drops(endpoints)
        return [Fault(self._network.name, what) for what in whats]

    def run(self) -> None:
        """Make all of it be there again.

        Raises:
            CniError: something is refused.
        """
        endpoints = self._living()
        if not endpoints:
            return
        with NetlinkSocket() as sock:
            bridge = self._rebuild_bridge(sock, endpoints)
            for endpoint in endpoints:
                if endpoint.state != MISSING:
                    self._rebuild_port(sock, endpoint, bridge)
        for endpoint in endpoints:
            if endpoint.state == MISSING:
                self._attach_again(endpoint)
        if self._config.internal:
            self._rebuild_barrier(endpoints)
        self._rebuild_rules(endpoints)

    def _living(self) -> list[Endpoint]:
        return [endpoint for endpoint in self._caller.find_endpoints(self._network) if endpoint.state != GONE]

    # Bridge

    def _find_bridge_faults(self, sock: NetlinkSocket, endpoints: list[Endpoint]) -> list[str]:
        bridge = link_by_name(sock, self._config.bridge)
        gateways = self._calc_gateways(endpoints)
        if bridge is None:
            return [f"bridge {self._config.bridge} is missing"]
        faults = [] if bridge.up else [f"bridge {bridge.name} is down"]
        mac = self._find_mac(endpoints)
        if mac and bridge.mac != mac:
            faults.append(f"bridge {bridge.name} has another hardware address than the containers know")
        holder = link_by_name(sock, self._config.gateway_link)
        if holder is not None and self._config.isolate != (holder.group == ISOLATED_GROUP):
            where = "not " if self._config.isolate else "still "
            faults.append(f"link {holder.name} is {where}in the group of isolated networks")
        present = {(a.ip, a.prefix) for a in addr_list(sock, holder.index)} if holder is not None else set()
        faults += [
            f"bridge {bridge.name} lacks address {gateway}"
            for gateway in gateways
            if (gateway.address.packed, gateway.prefix) not in present
        ]
        versions = sorted({gateway.version for gateway in gateways})
        faults += [f"forwarding is off for IPv{v}" for v in versions if not is_forwarding(v)]
        if holder is None:
            return faults
        return faults + [
            f"forwarding of {holder.name} is off for IPv{v}"
            for v in versions
            if is_forwarding(v) and not is_link_forwarding(holder, v)
        ]

    def _rebuild_bridge(self, sock: NetlinkSocket, endpoints: list[Endpoint]) -> Link:
        bridge, created = ensure_bridge(sock, self._config)
        mac = self._find_mac(endpoints)
        if mac and bridge.mac != mac:
            # The containers' caches know this one.
            sock.request(link_set(bridge.index, mac=mac))
        if not bridge.up:
            sock.request(link_set(bridge.index, up=True))
        bridge = link_by_name(sock, self._config.bridge) or bridge
        if self._config.is_gateway:
            ensure_gateway(sock, self._config, bridge, self._calc_gateways(endpoints), created)
        return bridge

    def _calc_gateways(self, endpoints: list[Endpoint]) -> list[Cidr]:
        """Return the addresses that the bridge has for its containers, as ADD works them out."""
        if not self._config.is_gateway:
            return []
        gateways: list[Cidr] = []
        for endpoint in endpoints:
            stated = self._stated_gateways(endpoint)
            for address in map(parse_cidr, endpoint.addresses):
                gateway = stated.get(str(address)) or self._network.find_gateway(address.address)
                gateway = gateway or Address(address.version, address.first + 1)
                if Cidr(gateway, address.prefix) not in gateways:
                    gateways.append(Cidr(gateway, address.prefix))
        return gateways

    def _stated_gateways(self, endpoint: Endpoint) -> dict[str, Address]:
        ips = self._result(endpoint).get("ips") or []
        return {ip["address"]: parse_address(ip["gateway"]) for ip in ips if ip.get("gateway")}

    def _find_mac(self, endpoints: list[Endpoint]) -> bytes:
        """Return the hardware address that containers know the bridge by; empty when that is unknown."""
        for endpoint in endpoints:
            for interface in self._result(endpoint).get("interfaces") or []:
                is_bridge = interface.get("name") == self._config.bridge and not interface.get("sandbox")
                if is_bridge and interface.get("mac"):
                    return bytes.fromhex(interface["mac"].replace(":", ""))
        return b""

    def _result(self, endpoint: Endpoint) -> dict[str, Any]:
        cached: Attachment | None = self._cached.get(endpoint.key)
        return (cached.result if cached is not None else None) or {}

    # Ports

    def _find_port_faults(self, sock: NetlinkSocket, endpoint: Endpoint, bridge: Link | None) -> list[str]:
        who = f"{endpoint.host_link or endpoint.ifname} of container {endpoint.container_id}"
        link = link_by_name(sock, endpoint.host_link) if endpoint.host_link else None
        if link is None:
            return [f"link {who} is missing"]
        if bridge is None or link.master != bridge.index:
            return [f"link {who} is not on bridge {self._config.bridge}"]
        faults = [] if link.up else [f"link {who} is down"]
        if link.port is not None and self._config.hairpin_mode and not link.port.hairpin:
            faults.append(f"link {who} is not in hairpin mode")
        if link.port is not None and self._config.port_isolation and not link.port.isolated:
            faults.append(f"link {who} is not isolated")
        if self._config.internal and not is_internal_port(link):
            faults.append(f"link {who} is not kept from reaching the host")
        if not self._config.internal and link.group == INTERNAL_GROUP:
            faults.append(f"link {who} is still kept from reaching the host")
        if self._config.mac_spoof_check and not self._guard().is_guarded(endpoint.host_link, endpoint.mac):
            faults.append(f"link {who} is not guarded against spoofing")
        return faults

    def _rebuild_port(self, sock: NetlinkSocket, endpoint: Endpoint, bridge: Link) -> None:
        name, config = endpoint.host_link, self._config
        link = link_by_name(sock, name)
        if link is None:
            return
        is_new = link.master != bridge.index
        requests = [link_set(name, master=bridge.index, up=True)]
        if config.hairpin_mode or config.port_isolation:
            settings = link_set_port(name, config.hairpin_mode or None, config.port_isolation or None)
            requests.append(settings)
        if config.internal:
            requests += calc_internal_port(name)
        elif link.group == INTERNAL_GROUP:
            requests += calc_open_port(name)
        sock.request_all(requests)
        if is_new and config.has_vlans:
            default = None if config.preserve_default_vlan else bridge.vlan_default_pvid
            setup_port_vlans(sock, calc_port_vlans(link.index, config.vlan, config.vlan_trunk, default))
        if config.mac_spoof_check:
            self._state.lock_shared()
            try:
                ensure_guard(self._state, name, endpoint.mac, os.environ)
            finally:
                self._state.unlock()

    def _guard(self) -> SpoofGuard:
        return SpoofGuard(self._network.name, os.environ)

    def _attach_again(self, endpoint: Endpoint) -> None:
        """Give a container that lost its link the same one again, by the plugins: DEL, then ADD."""
        cached = self._cached.get(endpoint.key)
        capabilities = dict(cached.capability_args) if cached is not None else {}
        args = dict(cached.cni_args) if cached is not None else {}
        addresses = [address.partition("/")[0] for address in endpoint.addresses]
        if addresses and self._network.declares("ips"):
            capabilities["ips"] = addresses
        elif addresses:
            args |= {"IgnoreUnknown": "1", "IP": addresses[0]}
        runtime = self._caller.runtime
        with runtime.lock_container(endpoint.container_id):
            self._caller.detach(self._network, endpoint)
            runtime.add(
                self._network.config,
                endpoint.container_id,
                endpoint.netns,
                endpoint.ifname,
                args,
                capabilities,
            )

    # Barrier

    def _barrier(self) -> Barrier:
        return Barrier(self._network.name, os.environ)

    def _rebuild_barrier(self, endpoints: list[Endpoint]) -> None:
        self._state.lock_shared()
        try:
            ensure_barrier(self._state, self._barrier())
            links = {endpoint.host_link for endpoint in endpoints}
            for link in links.intersection(self._state.attachments()):
                # DEL goes by the record, whatever the configuration is then.
                record = self._state.read_attachment(link)
                self._state.update_attachment(link, record | {"internal": True})
        finally:
            self._state.unlock()

    # Rules

    def _calc_rules(self, endpoints: list[Endpoint]) -> NetworkRules | None:
        """Return the rules of what shibafu-bridge attached: other plugins' DEL would not remove them."""
        own = [endpoint for endpoint in endpoints if RECORD in endpoint.sources]
        subnets = [parse_cidr(address).network for endpoint in own for address in endpoint.addresses]
        is_forced = bool(self._state.read_rules()) or routes_loopback(self._config.gateway_link)
        needs = find_needs(self._config, subnets, os.environ, is_forced) if subnets else None
        return needs[1] if needs is not None else None

    def _find_rule_faults(self, endpoints: list[Endpoint]) -> list[str]:
        rules = self._calc_rules(endpoints)
        if rules is None:
            return []
        if self._state.remembers_isolation() and not self._config.isolate:
            return ["firewall rules still isolate it"]
        backend = open_backend(self._choose_backend(), rules, os.environ)
        backend.start_check()
        return [] if backend.finish() else [f"firewall rules {backend.fault}"]

    def _find_drops(self, endpoints: list[Endpoint]) -> list[str]:
        """Return what no rule of ours overrules: it stays, and is its administrator's to change."""
        subnets = [parse_cidr(address).network for endpoint in endpoints for address in endpoint.addresses]
        drop = find_overruling_drop(self._config, subnets, os.environ)
        return [f"{drop.describe(self._network.name)}: {drop.advice}"] if drop is not None else []

    def _rebuild_rules(self, endpoints: list[Endpoint]) -> None:
        rules = self._calc_rules(endpoints)
        if rules is None:
            return
        masquerade = Masquerade(self._state, self._choose_backend(), rules, os.environ)
        try:
            masquerade.start()
            masquerade.finish()
        finally:
            self._state.unlock()

    def _choose_backend(self) -> str:
        return choose_backend(self._config.ip_masq_backend, os.environ)
