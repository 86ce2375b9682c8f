"""One network on this host: its devices, its entries and its subnet file, kept as etcd says."""

import time
from collections.abc import Callable, Mapping
from errno import ENODEV

from shibafu.cni.errors import CniError
from shibafu.lean.files import remove_file
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link_requests import link_del
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.agent_state import parse_own_lease, read_agent_state
from shibafu.overlay.cluster_network import ClusterNetwork, find_redescription
from shibafu.overlay.collisions import require_apart_from_links
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError, split_failure
from shibafu.overlay.host_setup import calc_devices, calc_host_subnet, calc_host_vteps
from shibafu.overlay.messages import (
    DescriptionSeen,
    EtcdState,
    HeldLease,
    LeaseAcquired,
    LeasesChanged,
    LeasesListed,
    Message,
    NetworkKnown,
    RejoinAnswered,
    SubnetTaken,
)
from shibafu.overlay.outer_link import OuterLink, find_outer_link, note_absent_addresses
from shibafu.overlay.peer_entries import Entry, apply_entries, list_entries, merge_entries
from shibafu.overlay.peers import PeerRules, calc_peer_entries
from shibafu.overlay.pending_rejoin import PendingRejoin
from shibafu.overlay.store_threads import HostWatcher, SubnetKeeper
from shibafu.overlay.subnet_allocation import SubnetTakenError
from shibafu.overlay.subnet_file import read_subnet_file, write_subnet_file
from shibafu.overlay.subnet_leases import HostVteps, SubnetLease, format_lease_key
from shibafu.overlay.trouble_log import TroubleLog
from shibafu.overlay.vxlan_device import calc_device_name, ensure_vxlan_device

NEVER = float("inf")
# Seconds between two looks at the kernel; the longer where something is changed again and again.
_PAUSE, _LONG_PAUSE = 0.05, 5.0
_MANY_HEALS, _MINUTE = 10, 60.0
# Seconds that hosts have to say what is so now, after etcd was restored from a backup.
GRACE = 60.0


class NetworkAgent:
    """A network on this host.

    Args:
        settings: of the network.
        machine_id: see machine-id(5).
        sock: a socket of the host's namespace.
        post: takes messages of its threads.
        log: takes lines for people.
    """

    def __init__(
        self,
        settings: OverlaySettings,
        machine_id: str,
        sock: NetlinkSocket,
        post: Callable[[Message], None],
        log: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.due = NEVER
        self.is_changed = True
        self.network: ClusterNetwork | None = None
        self.outer: OuterLink | None = None
        self.devices: dict[int, int] = {}
        self._machine_id = machine_id
        self._sock = sock
        self._log = log
        state = read_agent_state(settings.name)
        self._previous = parse_own_lease(state)
        self._former_devices = {str(name) for name in state.get("devices", ())}
        self._keeper = SubnetKeeper(settings, self._previous, post)
        self._watcher = HostWatcher(settings, post)
        self._seen: DescriptionSeen | None = None
        self._host: HostVteps | None = None
        self._held: HeldLease | None = None
        self._taken_by = ""
        self._is_refused = False
        self._rejoin = PendingRejoin(settings.name, log)
        self._leases: dict[str, SubnetLease] | None = None
        self._kept: dict[str, SubnetLease] = {}
        self._kept_until = NEVER
        self._peers: dict[str, list[Entry]] = {}
        self._entries: set[Entry] = set()
        self._has_changes = False
        self._troubles = TroubleLog(log)
        self._endpoint = ""
        self._heals: list[float] = []
        self._heal_count = 0
        self._looked = 0.0

    def start(self) -> None:
        """Begin to talk to etcd."""
        self._rejoin.drop_earlier()
        self._keeper.start()
        self._watcher.start()

    # What etcd says

    def handle(self, message: Message) -> None:
        """Take a message of one of its threads."""
        self.is_changed = True
        if self._is_refused and not isinstance(message, EtcdState | RejoinAnswered):
            return
        if isinstance(message, NetworkKnown):
            self.network = message.network
            self._compare_description()
            self.look_at_outer()
        elif isinstance(message, DescriptionSeen):
            self._seen = message
            self._compare_description()
        elif isinstance(message, LeaseAcquired):
            self._take_lease(message.held)
        elif isinstance(message, SubnetTaken):
            self._take_loss(message)
        elif isinstance(message, RejoinAnswered):
            # By then the kernel and the subnet file are as the state says, which the command reads next.
            self._rejoin.note_tried(message.request)
            self.reconcile()
        elif isinstance(message, LeasesListed):
            self._take_listing(message)
        elif isinstance(message, LeasesChanged):
            self._take_changes(message.leases)
        elif isinstance(message, EtcdState):
            self._note_trouble(message.who, message.trouble, message.hint)
            self._endpoint = message.endpoint or self._endpoint

    def refuse(self, trouble: str, hint: str, has_own_devices: bool) -> None:
        """Do nothing for the network any more, and say why; its devices go, if they are its own."""
        if self._held is not None:
            remove_file(self.settings.subnet_file)  # no more containers
        if has_own_devices:
            self._sock.request_all([link_del(index).ignoring(ENODEV) for index in self.devices.values()])
        self._is_refused = True
        self.network = self.outer = self._held = None
        self.devices = {}
        self._note_trouble("network", trouble, hint)

    def _compare_description(self) -> None:
        """See whether the network is described as it was when this host joined, which it keeps to."""
        if self.network is not None and self._seen is not None:
            self._note_trouble("description", *find_redescription(self.network, self._seen.text))

    def _take_lease(self, held: HeldLease) -> None:
        self._taken_by = ""
        if self._held == held:
            return
        if self._held is None or self._held.lease != held.lease:
            lease = held.lease
            both = f"{lease.subnet} and {lease.subnet6}" if lease.subnet6 else str(lease.subnet)
            self._log(f"this host has {both}, and is reached at {lease.public_ip}")
        self._held = held
        self.mark()

    def _take_loss(self, loss: SubnetTaken) -> None:
        if self._taken_by != loss.owner:
            self._log(f"the host {loss.owner} has taken the subnet of this one; nothing is changed here")
        self._taken_by = loss.owner
        if self._held is None:
            # Containers have had its addresses since before the agent was started.
            self._held = HeldLease(loss.lease, 0, 0)
            self.mark()

    def _take_listing(self, listing: LeasesListed) -> None:
        before = self._leases or {}
        self._leases = listing.leases
        self._kept = {}
        if listing.is_restored:
            differing = {key for key, lease in before.items() if listing.leases.get(key) != lease}
            self._kept = {key: before[key] for key in differing}
            self._kept_until = time.monotonic() + GRACE
            self._log(
                f"etcd was restored from a backup; {len(differing)} hosts that it lacks, or knows otherwise,"
                f" stay as they are for {GRACE:.0f} seconds"
            )
        self._log(f"{len(listing.leases)} hosts")
        self._peers = {}
        if self._held is not None and listing.leases.get(str(self._own_key)) != self._held.lease:
            self._keeper.look()
        self.mark()

    def _take_changes(self, changes: Mapping[str, SubnetLease | None]) -> None:
        if self._leases is None:
            return
        for key, lease in changes.items():
            before = self._leases.get(key)
            self._kept.pop(key, None)
            self._peers.pop(key, None)
            if lease is None:
                self._leases.pop(key, None)
            else:
                self._leases[key] = lease
            if before is None and lease is not None:
                self._log(f"host {lease.public_ip} has joined with {lease.subnet}")
            elif before is not None and lease is None:
                self._log(f"host {before.public_ip} has left: {before.subnet}")
            elif before is not None and lease is not None and before != lease:
                self._log(f"host {lease.public_ip} with {lease.subnet} has changed")
            is_own = self._held is not None and key == self._own_key and lease != self._held.lease
            if is_own or (self._taken_by and lease is None):
                self._keeper.look()
        self._has_changes = True

    def apply_changes(self) -> None:
        """Bring the kernel up to date with what has changed in etcd, without looking at all that it has."""
        if self._has_changes and self._held is not None and self.devices:
            try:
                self._apply(self._entries)
            except OSError as error:
                self._note_trouble("kernel", *split_failure(error))
                self.mark()
        self._has_changes = False

    @property
    def _own_key(self) -> str | None:
        if self._held is None:
            return None
        return format_lease_key(self._held.lease.subnet, self._held.lease.subnet6)

    # What the command asks for

    def take_request(self) -> None:
        """Begin with what `shibafu overlay rejoin` has asked for, if anything."""
        was_leaving = self._rejoin.is_leaving
        request = self._rejoin.take()
        if self._rejoin.is_leaving != was_leaving:
            self.reconcile()
        if request is not None:
            self._keeper.rejoin(request)

    def answer_request(self) -> None:
        """Say that it has been tried, now that what came of it is written."""
        self._rejoin.answer()

    def end(self) -> None:
        """Leave what containers need, also where this host was about to leave its subnet."""
        if self._rejoin.is_leaving:
            self._rejoin.drop()
            self.reconcile()

    # What the kernel has

    def mark(self) -> None:
        """Have the kernel looked at soon."""
        now = time.monotonic()
        self._heals = [heal for heal in self._heals if heal > now - _MINUTE]
        pause = _PAUSE if len(self._heals) < _MANY_HEALS else _LONG_PAUSE
        self.due = min(self.due, max(now, self._looked + pause))

    def look_at_outer(self) -> None:
        """Look how other hosts reach this one, and have them told if that has changed."""
        network = self.network
        if network is None:
            return
        try:
            outer = find_outer_link(self._sock, self.settings, network.subnets6 is not None)
            host = calc_host_vteps(network, outer, self._machine_id)
            require_apart_from_links(self._sock, network, [], outer.index)
            note = note_absent_addresses(self._sock, self.settings, network.subnets6 is not None)
        except (OverlayError, NetlinkError) as error:
            self._note_trouble("link", *split_failure(error))
            return
        self._note_trouble("link", "", "")
        self._troubles.remark("link", note)
        if outer != self.outer:
            self.outer = outer
            self.mark()
        if host != self._host:
            self._host = host
            self._keeper.tell_host(host)

    def reconcile(self) -> None:
        """Compare the kernel with what is wanted, and make it so."""
        self.due = NEVER
        self._looked = time.monotonic()
        if self._kept and self._looked >= self._kept_until:
            self._log(f"{len(self._kept)} hosts have said nothing since; etcd is believed")
            for key in self._kept:
                self._peers.pop(key, None)
            self._kept = {}
        if self.network is None or self._held is None or self.outer is None:
            return
        try:
            has_changed = self._ensure_devices(self.network, self._held, self.outer)
            if self._rejoin.is_leaving:
                remove_file(self.settings.subnet_file)
            else:
                self._ensure_subnet_file(self.network, self._held.lease)
            if self._leases is not None:
                if self.network.direct_routing or has_changed:
                    self._peers = {}
                # What is there may be somebody else's work, so that it is not taken for our own.
                ranges = calc_host_subnet(self.network, self._held.lease, 0).networks
                self._apply(list_entries(self._sock, self.devices.values(), self.outer.index, ranges))
        except (OverlayError, OSError) as error:
            self._note_trouble("kernel", *split_failure(error))
            self.due = time.monotonic() + _LONG_PAUSE
        else:
            self._note_trouble("kernel", "", "")

    def _ensure_devices(self, network: ClusterNetwork, held: HeldLease, outer: OuterLink) -> bool:
        wanted = calc_devices(network, held.lease, outer, self.settings.tx_checksum)
        for name in self._former_devices - {device.name for device in wanted.values()}:
            self._sock.request(link_del(name).ignoring(ENODEV))
            self._log(f"{name} is removed, as the network has another VNI now")
        self._former_devices = set()
        devices = {version: ensure_vxlan_device(self._sock, device) for version, device in wanted.items()}
        mended = [wanted[version].name for version, (_, is_mended) in devices.items() if is_mended]
        for name in mended:
            self._log(f"{name} is set up")
        former, self.devices = self.devices, {version: index for version, (index, _) in devices.items()}
        return bool(mended) or self.devices != former

    def _ensure_subnet_file(self, network: ClusterNetwork, lease: SubnetLease) -> None:
        outer = self.outer
        assert outer is not None  # noqa: S101 - reconcile() has looked
        mtu = min(device.mtu for device in calc_devices(network, lease, outer).values())
        wanted = calc_host_subnet(network, lease, mtu)
        path = self.settings.subnet_file
        try:
            if read_subnet_file(path) == wanted:
                return
        except (CniError, OSError) as error:
            said = error.msg if isinstance(error, CniError) else f"{path}: {error.strerror}"
            self._log(f"{said}; the subnet file is written again")
        write_subnet_file(path, wanted)

    def _apply(self, have: set[Entry]) -> None:
        """Bring entries up to date.

        Args:
            have: what the kernel has.
        """
        assert self.network and self._held and self.outer and self._leases is not None  # noqa: S101, PT018
        rules = PeerRules(self._sock, self.network, self._held.lease, self.outer, self.devices)
        for key, lease in (self._leases | self._kept).items():
            if key not in self._peers:
                self._peers[key] = calc_peer_entries(rules, lease)
        for key in self._peers.keys() - self._leases.keys() - self._kept.keys():
            del self._peers[key]
        want = merge_entries(self._peers)
        is_repair = bool(self._entries) and have != self._entries
        changed, failures = apply_entries(self._sock, have, want)
        self._entries = want
        for failure in failures[:3]:
            self._log(str(failure))
        if failures:
            self.due = time.monotonic() + _LONG_PAUSE
        if is_repair:
            self._heals.append(time.monotonic())
            self._heal_count += changed
            self._log(f"{changed} entries of the kernel were restored")
            self.is_changed = True

    # What is said about it

    def _note_trouble(self, who: str, trouble: str, hint: str) -> None:
        self.is_changed |= self._troubles.note(who, trouble, hint)

    def describe(self) -> dict[str, object]:
        """Return its state, for programs."""
        trouble, hint = self._troubles.first
        if self._taken_by and self._held is not None:
            taken = SubnetTakenError(self._held.lease, self._taken_by, self.settings.name)
            trouble, hint = taken.message, taken.hint
        lease = self._held.lease if self._held else self._previous
        state = "taken" if self._taken_by else "joined" if self._held else "waiting"
        network = self.network
        own = {calc_device_name(network.vni, version) for version in self.devices} if network else set()
        return {
            "network": self.settings.name,
            "state": state,
            "trouble": trouble,
            "hint": hint,
            "prefix": self.settings.prefix,
            "endpoint": self._endpoint,
            "subnet": str(lease.subnet) if lease else "",
            "subnet6": str(lease.subnet6) if lease and lease.subnet6 else "",
            "publicIP": str(lease.public_ip) if lease else "",
            "publicIPv6": str(lease.public_ip6) if lease and lease.public_ip6 else "",
            "iface": self.outer.name if self.outer else "",
            "vni": network.vni if network else 0,
            "ranges": [str(subnets.network) for subnets in network.ranges] if network else [],
            "devices": sorted(self._former_devices | own),
            "subnetFile": self.settings.subnet_file,
            "hosts": len(self._leases or {}),
            "repaired": self._heal_count,
        }
