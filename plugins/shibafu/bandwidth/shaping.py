"""What limits a container's traffic: token buckets, a link to delay packets in, and the way there."""

from errno import EEXIST

from shibafu.bandwidth.config import Limit
from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.cni.names import calc_comment
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_requests import link_add, link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.traffic_control import (
    filter_del,
    filter_list,
    filter_redirect,
    qdisc_add_ingress,
    qdisc_del_ingress,
    qdisc_del_root,
    qdisc_del_tbf,
    qdisc_replace_tbf,
    root_qdisc,
)
from shibafu.resource.base import Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.resource.view import View

# What the kernel gives a veth; an ifb of its own gets room for 32 packets (drivers/net/ifb.c).
_QUEUE_LENGTH = 1000
INGRESS, EGRESS = "ingress", "egress"
_VERBS = {INGRESS: "receives", EGRESS: "sends"}


class RateLimit(Resource):
    """A token bucket that delays what a link sends.

    Args:
        link: the link's name.
        way: what is limited, `ingress` or `egress`, as the container sees it.
        limit: how fast; None for a limit that is only to be removed.
    """

    __slots__ = ("_limit", "_link", "_way")

    def __init__(self, link: str, way: str, limit: Limit | None) -> None:
        self._link = link
        self._way = way
        self._limit = limit

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the limit of link {self._link}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        if self._limit is None:
            return {}
        return {
            "link": self._link,
            "limits": self._way,
            "rate": self._limit.rate,
            "burst": self._limit.burst,
        }

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`; what is said begins as in the reference."""
        link = view.link(self._link)
        if self._limit is None or link is None:
            return []  # that it is gone, others tell
        qdisc = root_qdisc(view.sock, link.index)
        found = qdisc.token_bucket if qdisc is not None else None
        if found is None:
            return [Fault(f"Failed to find qdisc: nothing limits what the container {_VERBS[self._way]}")]
        wanted = self._limit.calc_token_bucket()
        return [
            Fault(f"{what} doesn't match: link {self._link} has {has}, and {should} is wanted")
            for what, has, should in (
                ("Rate", f"{8 * found.rate} bit/s", f"{8 * wanted.rate} bit/s"),
                ("Limit", f"{found.limit} bytes", f"{wanted.limit} bytes"),
                ("Buffer", f"{found.buffer} ticks", f"{wanted.buffer} ticks"),
            )
            if has != should
        ]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`; an existing limit is changed without losing packets."""
        if self._limit is None:
            self.remove()
            return False
        link = expect_link(view, self._link)
        request = qdisc_replace_tbf(link.index, self._limit.calc_token_bucket())
        qdisc = root_qdisc(view.sock, link.index)
        if qdisc is not None and qdisc.handle and qdisc.kind != "tbf":
            # One of another kind that has the same handle cannot be replaced.
            view.sock.request(qdisc_del_root(link.index))
        view.sock.request(request)
        return True

    def remove(self) -> None:
        """See `Resource.remove`."""
        with NetlinkSocket() as sock:
            link = link_by_name(sock, self._link)
            if link is not None:
                sock.request(qdisc_del_tbf(link.index))


class DelayLink(Resource):
    """The link, of kind ifb, that what the container sends is delayed in.

    Its alias says which network it is for: GC goes by that.

    Args:
        network: the network.
        name: its name.
        port: the name of the container's link on the host; empty where it is only to be removed.
    """

    __slots__ = ("_name", "_network", "_port")

    def __init__(self, network: str, name: str, port: str = "") -> None:
        self._network = network
        self._name = name
        self._port = port

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"link {self._name}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"name": self._name, "kind": "ifb", "state": "up"}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`; what is said begins as in the reference."""
        link = view.link(self._name)
        if link is None or link.kind != "ifb":
            return [Fault(f"get ifb device: Link not found: {self._name} is missing")]
        if not link.up:
            return [Fault(f"link {self._name} is down: what the container sends is lost")]
        return []

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: somebody else's link has the name.
            NetlinkError: the kernel refuses.
        """
        mtu = expect_link(view, self._port).mtu
        former = view.look_again(self._name)
        if former is not None and former.kind != "ifb":
            raise CniError(
                NETWORK_SETUP,
                f'"{self._name}" already exists but is not an ifb',
                f"remove it: `ip link del {self._name}`",
            )
        # The reference's has no alias, and gets one. An address that was set, udev leaves alone.
        mac = b"\x02" + bytes.fromhex(self._name[-10:])
        requests = [link_set(self._name, alias=calc_comment(self._network), mtu=mtu, up=True)]
        if former is None:
            new = link_add(self._name, "ifb", mac=mac, mtu=mtu, up=True, txqlen=_QUEUE_LENGTH)
            requests.insert(0, new.ignoring(EEXIST))
        view.sock.request_all(requests)
        view.look_again(self._name)
        return former is None

    def remove(self) -> None:
        """See `Resource.remove`."""
        from shibafu.netlink.link_removal import link_del_announced

        with NetlinkSocket() as sock:
            is_there = sock.has_link(self._name)
        if is_there:
            link_del_announced(self._name)


class Redirection(Resource):
    """The filter by which what the container sends gets to the link that delays it.

    Args:
        port: the name of the container's link on the host.
        target: the name of the link that delays it.
    """

    __slots__ = ("_port", "_target")

    def __init__(self, port: str, target: str) -> None:
        self._port = port
        self._target = target

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the filter of link {self._port}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"from": self._port, "to": self._target}

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        port, target = view.link(self._port), view.link(self._target)
        if port is None or target is None:
            return []  # which others tell
        if any(target.index in rule.targets for rule in filter_list(view.sock, port.index)):
            return []
        return [Fault(f"what the container sends does not reach link {self._target} and is not limited")]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`."""
        port, target = expect_link(view, self._port), expect_link(view, self._target)
        view.sock.request_all([qdisc_add_ingress(port.index), filter_redirect(port.index, target.index)])
        return True

    def remove(self) -> None:
        """See `Resource.remove`; filters of others stay."""
        with NetlinkSocket() as sock:
            port, target = link_by_name(sock, self._port), link_by_name(sock, self._target)
            if port is None:
                return
            # A link that is gone already left a filter that leads nowhere.
            own = target.index if target is not None else 0
            rules = filter_list(sock, port.index)
            ours = [rule for rule in rules if own in rule.targets]
            if ours and len(ours) == len(rules):
                sock.request(qdisc_del_ingress(port.index))
            else:
                sock.request_all([filter_del(port.index, rule) for rule in ours])


def expect_link(view: "View", name: str) -> Link:
    """Return a link.

    Raises:
        CniError: it is gone.
    """
    link = view.link(name)
    if link is None:
        raise CniError(
            NETWORK_SETUP,
            f"link {name} is gone",
            "the container was detached while it was being attached",
        )
    return link
