"""GC: links that delay what containers sent that are gone."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.names import calc_comment, calc_ifb, calc_reference_ifb, is_ifb
from shibafu.netlink.link import link_list
from shibafu.netlink.link_removal import link_del_all
from shibafu.netlink.traffic_control import filter_list, root_qdisc
from shibafu.resource.teardown import Teardown
from shibafu.resource.view import View, open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.cni.request import Request
    from shibafu.netlink.link import Link


def collect_garbage(request: "Request") -> None:
    """Remove the links of attachments that the runtime no longer lists.

    All else is about the containers' own links, and goes with them.

    Raises:
        CniError: everything that could not be removed.
    """
    valid = parse_valid_attachments(request.config)
    if valid is None:
        return
    teardown = Teardown()
    with open_view() as view:
        stale = list(_find_stale(view, request.network, valid))
        teardown.add(link_del_all(view.sock, stale).values())
    teardown.finish()


def _find_stale(view: View, network: str, valid: "list[tuple[str, str]]") -> "Iterator[Link]":
    keep = {calc_ifb(network, *owner) for owner in valid}
    keep |= {calc_reference_ifb(network, container_id) for container_id, _ in valid}
    found = [link for link in link_list(view.sock, kind="ifb") if is_ifb(link.name) and link.name not in keep]
    yield from (link for link in found if link.alias == calc_comment(network))
    # Of the others it is not known which containers are there and, where the reference made them, of which
    # network they are. What nothing leads to is used by nobody; without a limit, it may be in the making.
    others = [link for link in found if link.alias != calc_comment(network) and _is_limited(view, link)]
    if others:
        in_use = _find_targets(view)
        yield from (link for link in others if link.index not in in_use)


def _is_limited(view: View, link: "Link") -> bool:
    """Return whether a link's rate is limited."""
    qdisc = root_qdisc(view.sock, link.index)
    return qdisc is not None and qdisc.kind == "tbf"


def _find_targets(view: View) -> set[int]:
    """Return the indexes of all links that filters redirect to."""
    rules = (filter_list(view.sock, link.index) for link in link_list(view.sock, kind="veth"))
    return {target for found in rules for rule in found for target in rule.targets}
