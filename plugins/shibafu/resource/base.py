"""The parts of an attachment, each described once: how to examine it, create it and remove it.

Verbs, `repair` and listings are interpretations of an ordered list of these.
"""

from shibafu.cni.errors import CHECK_FAILED, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from shibafu.cni.request import Request
    from shibafu.resource.view import View

ATTACHMENT = "attachment"  # goes with one interface of one container
NETWORK = "network"  # shared by a network's containers; goes with the last of them
HOST = "host"  # perhaps shared by networks, or there before them
# What a resource is made of, and hence what announces that it has changed.
LINKS = "links"  # links of the host, with their addresses, routes, switches and queues
RULES = "rules"  # of netfilter
INSIDE = "inside"  # whatever is in the container's namespace
FILES = "files"
# What is said of a fault that a repair fixes, unless there is more to say.
MEND = "`shibafu network repair` fixes it"
# What is said where the kernel's refusal stands in a fault's place.
NOT_CHECKED = (
    "the kernel did not allow it to be read, so it was not checked; try again, or remove the restriction"
)


class Fault:
    """Something that is not as it was made.

    Args:
        what: in words, such as "bridge br-blue is missing".
        advice: what to do about it, and why it is so where that is known.
        is_mendable: whether `Resource.ensure` fixes it.
        is_switch: whether it is a switch of the kernel that somebody has set, sysctl(8).
    """

    __slots__ = ("advice", "is_mendable", "is_switch", "what")

    def __init__(
        self, what: str, advice: str = MEND, is_mendable: bool = True, is_switch: bool = False
    ) -> None:
        self.what = what
        self.advice = advice
        self.is_mendable = is_mendable
        self.is_switch = is_switch


class Resource:
    """One part of what a plugin makes. That it is not there is a state like any other."""

    __slots__ = ()
    scope = ATTACHMENT
    medium = LINKS
    # Whether the views that it is given are of the container's namespace, not of the host's.
    is_inside = False
    # Whether all that earlier resources have left running must have ended before it is ensured.
    is_barrier = False
    # Whether it stays when something that was made after it could not be removed, so that this is found.
    is_last = False
    # Whether all removals that were left running must have ended before it is removed.
    is_removal_barrier = False

    @property
    def title(self) -> str:
        """Name in errors about what was left behind."""
        raise NotImplementedError

    @classmethod
    def obstacle(cls, request: "Request", config: "Any") -> "CniError | None":
        """Return what keeps it from being made on this machine, which STATUS answers; None if nothing does.

        Args:
            request: the call.
            config: the plugin's configuration, in which it is asked for.

        Raises:
            CniError: it is found out by a call that is refused.
        """
        return None

    def prepare(self) -> None:
        """Start what runs in parallel with other work until `faults` asks for its outcome."""

    def faults(self, view: "View") -> "Iterable[Fault]":
        """Return what is wrong with it, in the order in which to say it; nothing is changed.

        Raises:
            CniError: the check itself fails.
            NetlinkError: likewise.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, object]:
        """Return its expected attributes by name, for JSON: those that `faults` compares.

        Nothing is read. What has no faults has no attributes, either.
        """
        return {}

    def ensure(self, view: "View") -> bool:
        """Make what is missing; return whether nothing of it was there before.

        It may leave something running that `settle` waits for. What `view` remembered may be out of date.

        Raises:
            CniError: it is refused.
            NetlinkError: the kernel refuses.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Complete what `ensure` left running.

        Raises:
            CniError: it is refused.
        """

    def cancel(self) -> None:
        """Wait for what `prepare` or `ensure` left running, and ignore its outcome."""

    def prepare_removal(self) -> None:
        """Start what `remove` will need, and what takes time."""

    def settle_removal(self) -> None:
        """Complete what `remove` left running.

        Raises:
            CniError: it is refused.
        """

    def remove(self) -> None:
        """Remove it; absence is success. What is shared is only removed when no one else needs it.

        It may leave something running that `settle_removal` waits for.

        Raises:
            CniError: it is refused.
            NetlinkError: the kernel refuses.
        """
        raise NotImplementedError


def find_faults(resources: "Iterable[Resource]", view: "View") -> "Iterator[Fault]":
    """Yield what is wrong with resources, one after the other."""
    for resource in resources:
        yield from resource.faults(view)


def check_resources(resources: "Sequence[Resource]", view: "View") -> None:
    """Do what a plugin's CHECK does; what runs in parallel has ended afterwards.

    Raises:
        CniError: CHECK_FAILED and the first fault.
    """
    try:
        for resource in resources:
            resource.prepare()
        for fault in find_faults(resources, view):
            raise CniError(CHECK_FAILED, fault.what, fault.advice)
    finally:
        for resource in resources:
            resource.cancel()
