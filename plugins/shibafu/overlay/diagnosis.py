"""What is wrong with an overlay network: etcd, the kernel and the other hosts are asked."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from shibafu.netlink.ethtool import has_checksum_offload
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.vxlan import parse_vxlan
from shibafu.overlay.administration import Host, list_hosts, read_network
from shibafu.overlay.agent_state import is_agent_running, read_agent_state
from shibafu.overlay.checksum_errors import count_checksum_errors
from shibafu.overlay.cluster_network import OVERHEAD, OVERHEAD6, ClusterNetwork
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient, make_lookups
from shibafu.overlay.etcd_failures import UNREACHED_HINT, EtcdUnavailableError
from shibafu.overlay.name_lookups import NameLookups
from shibafu.overlay.outer_link import OuterLink, find_outer_link, note_absent_addresses
from shibafu.overlay.probing import probe_addresses
from shibafu.overlay.subnet_leases import SubnetLease
from shibafu.overlay.vxlan_device import calc_device_name

# How many hosts are named in a sentence.
_NAMED = 5
# Seconds that clocks may differ: etcd's time comes in whole ones, and an answer takes a while.
_DIFFERENCE = 5.0
# Seconds in which wrong checksums are counted, at least.
_COUNTING = 1.0


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check.

    Args:
        check: what was looked at.
        trouble: what is wrong; empty for nothing.
        hint: what to change; may be empty.
        note: what is unusual, and perhaps wanted; may be empty.
    """

    check: str
    trouble: str = ""
    hint: str = ""
    note: str = ""


def diagnose_overlay(settings: OverlaySettings) -> Iterator[Diagnosis]:
    """Yield the result of each check of a network, as soon as it is known."""
    began, errors = time.monotonic(), count_checksum_errors()
    network: ClusterNetwork | None = None
    hosts: list[Host] = []
    names = make_lookups(settings.etcd)
    for endpoint in settings.etcd.endpoints:
        diagnosis, answer = _check_endpoint(settings, endpoint, names)
        yield diagnosis
        if answer is not None:
            network, hosts = answer
            yield from _check_clock(settings, endpoint, names)
    if network is None:
        yield from _check_without_etcd(settings)
        return
    with NetlinkSocket() as sock:
        diagnosis, outer = _check_link(sock, settings, network.subnets6 is not None)
        yield diagnosis
        if outer is None:
            return
        yield _check_agent(settings)
        yield _check_devices(sock, network)
        links = {version: link_by_name(sock, calc_device_name(network.vni, version)) for version in (4, 6)}
    others = [host.lease for host in hosts if host.lease.public_ip != outer.public]
    for version, link in links.items():
        if link is not None:
            peers = _list_peers(others, version)
            yield from _check_hosts(settings.name, network, outer, version, link.mtu, peers)
    time.sleep(max(0.0, began + _COUNTING - time.monotonic()))
    yield _check_checksums(settings, network, count_checksum_errors() - errors, time.monotonic() - began)


def _check_endpoint(
    settings: OverlaySettings, endpoint: str, names: NameLookups
) -> tuple[Diagnosis, tuple[ClusterNetwork, list[Host]] | None]:
    check = f"etcd at {endpoint}"
    try:
        client = _open_client(settings, endpoint, names)
        network = read_network(client, settings.prefix)
        if network is None:
            hint = f"describe it: shibafu overlay init {settings.name}"
            return Diagnosis(check, f"etcd has no network under {settings.prefix}", hint), None
        return Diagnosis(check), (network, list_hosts(client, settings.prefix))
    except (OverlayError, OSError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, OverlayError) else (str(error), "")
        if isinstance(error, EtcdUnavailableError):
            hint = hint or UNREACHED_HINT
        # The check names the endpoint already.
        return Diagnosis(check, message.removeprefix(f"{check} "), hint), None


def _check_without_etcd(settings: OverlaySettings) -> Iterator[Diagnosis]:
    """Look at what can be looked at by what the agent has last written."""
    has_ipv6 = bool(read_agent_state(settings.name).get("subnet6"))
    with NetlinkSocket() as sock:
        yield _check_link(sock, settings, has_ipv6)[0]
    # What troubles one that runs is what troubles etcd.
    yield Diagnosis("agent") if is_agent_running() else _check_agent(settings)


def _check_link(
    sock: NetlinkSocket, settings: OverlaySettings, has_ipv6: bool
) -> tuple[Diagnosis, OuterLink | None]:
    try:
        outer = find_outer_link(sock, settings, has_ipv6)
    except OverlayError as error:
        return Diagnosis("link", error.message, error.hint), None
    return Diagnosis("link", note=note_absent_addresses(sock, settings, has_ipv6)), outer


def _check_clock(settings: OverlaySettings, endpoint: str, names: NameLookups) -> Iterator[Diagnosis]:
    """Compare this host's clock with etcd's: certificates are judged by both.

    Nothing is said where etcd's clock is not known.
    """
    check = f"clock and that of etcd at {endpoint}"
    before = time.time()
    try:
        theirs = _open_client(settings, endpoint, names).ask_time()
    except (OverlayError, OSError):
        theirs = None  # no header, or not a valid date
    if theirs is None:
        return
    ahead = (before + time.time()) / 2 - theirs
    if abs(ahead) <= _DIFFERENCE:
        yield Diagnosis(check)
        return
    way = "ahead of" if ahead > 0 else "behind"
    yield Diagnosis(
        check,
        f"this host's clock is {abs(ahead):.0f} seconds {way} that of etcd",
        "set both by NTP (timedatectl set-ntp true): certificates that are valid may be refused",
    )


def _check_checksums(
    settings: OverlaySettings, network: ClusterNetwork, errors: int, seconds: float
) -> Diagnosis:
    check = "checksums"
    for version in (4, 6):
        name = calc_device_name(network.vni, version)
        try:
            is_other = settings.tx_checksum not in (None, has_checksum_offload(name))
        except OSError:
            continue  # another check tells that it is missing
        if is_other:
            return Diagnosis(
                check,
                f"{name} does not do what txChecksum says",
                "the agent reads its configuration when it starts: systemctl restart shibafu-overlay",
            )
    if not errors:
        return Diagnosis(check)
    return Diagnosis(
        check,
        f"{errors} packets with wrong checksums arrived in {seconds:.0f} s",
        f"find the host that sends them (tcpdump -vn udp port {network.port}: bad udp cksum), and set"
        " txChecksum: false in the configuration of its agent",
    )


def _open_client(settings: OverlaySettings, endpoint: str, names: NameLookups) -> EtcdClient:
    return EtcdClient(replace(settings.etcd, endpoints=(endpoint,)), names)


def _check_agent(settings: OverlaySettings) -> Diagnosis:
    if not is_agent_running():
        return Diagnosis("agent", "it is not running", "systemctl enable --now shibafu-overlay")
    state = read_agent_state(settings.name)
    return Diagnosis("agent", str(state.get("trouble", "")), str(state.get("hint", "")))


def _check_devices(sock: NetlinkSocket, network: ClusterNetwork) -> Diagnosis:
    own = {calc_device_name(network.vni, version) for version in (4, 6)}
    for link in link_list(sock, kind="vxlan"):
        vxlan = parse_vxlan(link)
        if (
            vxlan is not None
            and (vxlan.vni, vxlan.port) == (network.vni, network.port)
            and link.name not in own
        ):
            return Diagnosis(
                "VNI",
                f"the device {link.name} has the VNI and the port of this network",
                f"delete it, if nothing uses it (ip link delete {link.name}), or choose another VNI",
            )
    return Diagnosis("VNI")


def _list_peers(leases: Iterable[SubnetLease], version: int) -> dict[str, str]:
    """Return the addresses of hosts by the first ones of their subnets, of those that have the family."""
    peers = {}
    for lease in leases:
        public, subnet, vtep = (
            (lease.public_ip, lease.subnet, lease.vtep)
            if version == 4
            else (lease.public_ip6, lease.subnet6, lease.vtep6)
        )
        if public is not None and subnet is not None and vtep is not None:
            peers[str(subnet.network_address)] = str(public)
    return peers


def _check_hosts(
    name: str, network: ClusterNetwork, outer: OuterLink, version: int, mtu: int, peers: dict[str, str]
) -> Iterator[Diagnosis]:
    """Ask other hosts: by their own addresses, through the VXLAN, and with the largest packets."""
    over, overhead = ("", OVERHEAD) if version == 4 else (" over IPv6", OVERHEAD6)
    reached = probe_addresses(peers.values())
    yield _describe_missing(
        f"hosts{over}",
        set(peers.values()) - reached,
        ("does not answer", "do not answer"),
        "is it up, and may ICMP echo reach it? One that will not return: shibafu overlay rm HOST"
        f" --network {name}",
    )
    # One that does not answer at all says nothing about the VXLAN.
    alive = {inner: public for inner, public in peers.items() if public in reached}
    through = probe_addresses(alive)
    yield _describe_missing(
        f"VXLAN{over}",
        {alive[inner] for inner in alive.keys() - through},
        ("answers, but not through the VXLAN", "answer, but not through the VXLAN"),
        f"firewalls must let UDP port {network.port} pass on both hosts, and the agent must run there",
    )
    large = probe_addresses(through, mtu)
    yield _describe_missing(
        f"MTU{over}",
        {alive[inner] for inner in through - large},
        (f"does not answer to packets of {mtu} bytes", f"do not answer to packets of {mtu} bytes"),
        f"a link on the way takes fewer than {mtu + overhead} bytes (that of {outer.name} is {outer.mtu}):"
        " describe the network with --mtu",
    )


def _describe_missing(check: str, missing: set[str], what: tuple[str, str], hint: str) -> Diagnosis:
    """Return which hosts something is wrong with: what, of one of them and of several."""
    if not missing:
        return Diagnosis(check)
    named = sorted(missing)[:_NAMED]
    more = f" and {len(missing) - len(named)} more" if len(missing) > len(named) else ""
    return Diagnosis(check, f"{', '.join(named)}{more} {what[len(missing) > 1]}", hint)
