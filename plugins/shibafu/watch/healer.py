"""Healing a network: what its records name, and the kernel no longer has."""

import os
import time
from contextlib import nullcontext

from shibafu.bridge.resources.network import NetworkRecord
from shibafu.cni.errors import CniError
from shibafu.networks.chained import choose_view
from shibafu.networks.desired import DesiredEndpoint, DesiredState, hold_claim, open_beside
from shibafu.networks.inspect import RECORD, Endpoint
from shibafu.resource.base import ATTACHMENT, FILES, HOST, INSIDE, LINKS, NETWORK, RULES
from shibafu.resource.claim import Claim
from shibafu.resource.identity import has_vanished
from shibafu.resource.mending import restore
from shibafu.resource.pause_file import is_paused
from shibafu.resource.record import COMPLETE, LEAVING, Record
from shibafu.resource.records import NetworkState
from shibafu.resource.view import open_view
from shibafu.watch.backoff import NEVER, Backoff
from shibafu.watch.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.networks.machine import Directories
    from shibafu.resource.base import Fault, Resource
    from shibafu.resource.view import View
    from shibafu.watch.marks import Marks

# The words of the key "watch" of a network, by what they are about; leases are always watched.
_KEYS = {LINKS: "bridge", RULES: "rules", INSIDE: "container"}
# Seconds until a container is looked at that a call is at work on, and a network that was paused.
_BUSY = 0.2
_PAUSED = 30.0


class Healer:
    """Heals networks.

    Args:
        directories: where plugins and cached results are.
        backoff: what was healed when.
        journal: takes what is done.
        is_dry_run: whether to log what would be done, and change nothing.
        attend: called between containers, since a look at many takes its time.
    """

    def __init__(
        self,
        directories: "Directories",
        backoff: Backoff,
        journal: Journal,
        is_dry_run: bool,
        attend: "Callable[[], None]",
    ) -> None:
        self._attend = attend
        self._directories = directories
        self._backoff = backoff
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._paused: set[str] = set()

    def heal(self, network: "ConfiguredNetwork", marks: "Marks") -> float:
        """Look at what is marked, and heal it; return in how many seconds to look again, perhaps NEVER."""
        if self.check_pause(network.name):
            self._journal.say(network.name, "paused, and left alone", time.monotonic())
            return _PAUSED
        look = _Look(self._directories, self._backoff, self._journal, self._is_dry_run, network, marks)
        return look.run(self._attend)

    def check_pause(self, network: str) -> bool:
        """Return whether an administrator wants a network to be left alone; after that it begins afresh."""
        if is_paused(NetworkState(network)):
            self._paused.add(network)
            return True
        if network in self._paused:
            self._paused.discard(network)
            self._backoff.forget(network)
            self._journal.note(f"network {network}: no longer paused")
        return False


class _Look:
    """One look at a network; see `Healer`."""

    def __init__(
        self,
        directories: "Directories",
        backoff: Backoff,
        journal: Journal,
        is_dry_run: bool,
        network: "ConfiguredNetwork",
        marks: "Marks",
    ) -> None:
        self._directories = directories
        self._backoff = backoff
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._network = network
        self._marks = marks
        self._state = NetworkState(network.name)
        self._watched = network.bridge.watch if network.bridge is not None else frozenset()
        self._found: set[str] = set()
        self._again = NEVER

    def run(self, attend: "Callable[[], None]") -> float:
        """Look, and heal; return in how many seconds to look again."""
        directories = self._directories
        everything: list[DesiredEndpoint] = []
        subnets: set[object] = set()
        with open_view() as view:
            view.leaves_switches = "sysctl" not in self._watched
            containers = (
                None if self._has_all() else [record.container_id for _, record in self._list_records()]
            )
            desired_state = DesiredState(
                self._network, directories.cni_path, directories.cache_dir, containers
            )
            for link, record in self._list_records():
                attend()
                try:
                    made = self._look_at_container(desired_state, link, record, view)
                except (CniError, OSError) as error:
                    self._say(f"container {record.container_id}, {record.ifname}: {_describe(error)}")
                    continue
                # What containers need together depends on their subnets alone.
                if made is not None and not subnets >= (own := _find_subnets(made)):
                    subnets |= own
                    everything.append(made)
            if self._marks.has_rules and everything:
                for resource in desired_state.plan_shared(everything):
                    self._heal(resource, view, None, "")
            if everything:
                self._place_gateway(view)
        self._journal.keep_lost(self._network.name, self._state.attachments(), self._found)
        return self._again

    def _place_gateway(self, view: "View") -> None:
        """Note whether a gateway that hosts share is here."""
        bridge = self._network.bridge
        if bridge is None or bridge.shared_gateway is None:
            return
        link = view.link(bridge.gateway_link)
        present = view.addresses(link) if link is not None else set()
        is_here = bridge.shared_gateway.is_among({ip for ip, _ in present})
        self._journal.place_gateway(self._network.name, is_here)

    def _has_all(self) -> bool:
        marks = self._marks
        return marks.has_links or marks.has_rules or marks.has_inside or marks.has_files

    def _list_records(self) -> "Iterator[tuple[str, Record]]":
        """Yield the containers that are attached, and looked at, by their links on the host."""
        for link in sorted(self._state.attachments()):
            if not (self._has_all() or self._marks.concern(link) or self._marks.concern_inside(link)):
                continue
            record = self._state.read_attachment(link)
            if record.owner is None or has_vanished(record.netns) or record.has_ended():
                continue
            if record.phase != LEAVING:
                yield link, record

    def _look_at_container(
        self, desired_state: DesiredState, link: str, record: Record, view: "View"
    ) -> DesiredEndpoint | None:
        """Look at one container; return it if it is attached."""
        endpoint = _describe_endpoint(link, record)
        with hold_claim(Claim(self._state, link, record)) as is_free:
            if not is_free:
                self._again = min(self._again, _BUSY)
                return None
            made = desired_state.of_endpoint(endpoint)
            claim = made.claim
            if claim is None or claim.record.phase != COMPLETE or not claim.holds():
                return None
            if view.link(link) is None:
                self._lose(link, record)
                return made
            self._found.add(link)
            whose = f"container {record.container_id}"
            media = {medium for medium, is_marked in self._list_media(link, record) if is_marked}
            with self._open_container(record, media, view) as beside:
                for resource in desired_state.plan(made):
                    seen_from = beside if resource.medium == INSIDE else view
                    # Nothing else of a container is possible without the bridge.
                    if resource.medium in media and not self._heal(resource, seen_from, claim, whose):
                        break
                for resource in desired_state.plan_chained(made, beside):
                    seen_from = choose_view(resource, beside) if resource.is_inside else view
                    if _find_medium(resource) in media:
                        self._heal(resource, seen_from, claim, whose)
            for resource in desired_state.plan_leases(made) if FILES in media else []:
                self._heal(resource, view, claim, whose)
        return made

    def _open_container(
        self, record: Record, media: set[str], view: "View"
    ) -> "AbstractContextManager[View]":
        """Return the view with a container's, where something inside, or another plugin's, is looked at."""
        has_chain = len(self._network.config.plugins) > 1 and bool(media & {LINKS, RULES})
        return open_beside(view, record.netns) if has_chain or INSIDE in media else nullcontext(view)

    def _list_media(self, link: str, record: Record) -> "Iterator[tuple[str, bool]]":
        yield LINKS, self._marks.concern(link)
        yield RULES, self._marks.has_rules
        yield INSIDE, self._marks.concern_inside(link)
        yield FILES, self._marks.has_files and self._has_lost_lease(record)

    def _has_lost_lease(self, record: Record) -> bool:
        """Return whether the file of an address is gone; asking an IPAM plugin may take a process."""
        network = self._network
        own = [ip.address for ip in record.addresses if network.find_gateway(ip.address) is not None]
        return any(not os.path.lexists(f"{network.data_dir}/{network.name}/{address}") for address in own)

    def _heal(self, resource: "Resource", view: "View", claim: "Claim | None", whose: str) -> bool:
        """Heal a resource; return whether what needs it can be looked at."""
        try:
            faults = list(resource.faults(view))
        except (CniError, OSError) as error:
            self._say(_describe(error))
            return True
        medium = _find_medium(resource)
        wanted = self._select_watched(medium, faults)
        for fault in wanted:
            if not fault.is_mendable:
                self._say(fault.what)
        for fault in faults if medium == INSIDE and not wanted else ():
            self._say(f"{whose}: {fault.what}; `shibafu network repair` restores it")
        missing = [fault.what for fault in wanted if fault.is_mendable]
        if not missing:
            return True
        if self._is_dry_run:
            for what in missing:
                self._say(f"would heal: {what}")
            return resource.scope != HOST
        # An administrator may have paused it since this look began.
        if is_paused(self._state) or not self._is_due(missing):
            return resource.scope != HOST
        for what in missing:
            self._backoff.note((self._network.name, what), time.monotonic())
        try:
            restore(resource, view, claim)
        except (CniError, OSError) as error:
            self._say(f"cannot heal {resource.title}: {_describe(error)}")
            self._again = min(self._again, self._calc_wait(missing) or _BUSY)
            return resource.scope != HOST
        if resource.scope == HOST and claim is not None and not claim.holds():
            # `network rm` may have removed it just now: then it is this heal's alone.
            if not self._state.attachments():
                resource.remove()
            return False
        title = (
            resource.title if resource.scope != ATTACHMENT or not whose else f"{resource.title} of {whose}"
        )
        self._journal.heal(
            self._network.name,
            type(resource).__name__,
            title,
            ", ".join(missing),
            self._marks.culprit,
            time.monotonic() - self._marks.since,
        )
        if resource.scope == NETWORK and not self._state.attachments() and self._network.bridge is not None:
            # The last container was detached meanwhile.
            NetworkRecord(self._state, self._network.bridge, os.environ).remove()
        return True

    def _select_watched(self, medium: str, faults: "Iterable[Fault]") -> "list[Fault]":
        """Return the faults that the network's configuration has healed."""
        key = _KEYS.get(medium, "")
        words = [(fault, "sysctl" if fault.is_switch else key) for fault in faults]
        return [fault for fault, word in words if not word or word in self._watched]

    def _is_due(self, missing: list[str]) -> bool:
        """Return whether something is to be healed now; what never is, is contested."""
        wait = self._calc_wait(missing)
        if wait == NEVER:
            for what in missing:
                self._journal.contest(self._network.name, what, self._marks.culprit)
        elif wait:
            self._again = min(self._again, wait)
        return not wait

    def _calc_wait(self, missing: list[str]) -> float:
        now = time.monotonic()
        return min(self._backoff.calc_wait((self._network.name, what), now) for what in missing)

    def _lose(self, link: str, record: Record) -> None:
        what = (
            f"link {link} of container {record.container_id}, {record.ifname}: it was deleted together with "
            "the container's end; `shibafu network repair` attaches the container again"
        )
        self._journal.lose(self._network.name, link, what)

    def _say(self, what: str) -> None:
        self._journal.say(self._network.name, what, time.monotonic())


def _find_medium(resource: "Resource") -> str:
    return INSIDE if resource.is_inside else resource.medium


def _describe_endpoint(link: str, record: Record) -> Endpoint:
    """Return a container whose link exists, by its record alone."""
    return Endpoint(
        record.container_id,
        record.ifname,
        netns=record.netns,
        host_link=link,
        mac=record.mac,
        addresses=[str(address) for address in record.addresses],
        state="",
        traffic=None,
        sources=[RECORD],
    )


def _find_subnets(made: DesiredEndpoint) -> set[object]:
    return {str(ip.address.network) for ip in made.result.ips} or {""}


def _describe(error: CniError | OSError) -> str:
    return error.msg if isinstance(error, CniError) else str(error)
