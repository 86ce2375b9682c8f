"""What a publication is made of, in order; and how one goes."""

from shibafu.portmap.flows import EarlierFlows, LastingFlows
from shibafu.portmap.resources import LoopbackRoute, PortClaim, PortRules
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.result import Result
    from shibafu.portmap.publication import Publication
    from shibafu.portmap.register import Register
    from shibafu.resource.base import Resource
    from shibafu.resource.netns import Netns


def plan_publication(
    publication: "Publication", register: "Register", env: "Mapping[str, str]"
) -> "list[Resource]":
    """Return what a publication is made of.

    Args:
        publication: what is published.
        register: the host's register, locked.
        env: the environment.
    """
    plan: list[Resource] = [
        PortClaim(publication, register, env),
        LastingFlows(publication),
        PortRules(publication, register, env),
    ]
    if publication.snat and publication.of_version(4):
        plan.append(LoopbackRoute(publication))
    return [*plan, EarlierFlows(publication)]


def plan_answers(
    publication: "Publication", ifname: str, netns: "Netns | None", previous: "Result | None" = None
) -> "list[Resource]":
    """Return what an attachment has inside the container.

    Args:
        publication: what is published.
        ifname: the container's interface.
        netns: its namespace; None where that is gone, and all of this with it.
        previous: what the plugins before have answered; without it, there is nothing to make.
    """
    if netns is None:
        return []
    from shibafu.portmap.answers import AnswerRoutes

    ips = previous.ips if previous is not None else []
    return [AnswerRoutes(netns.sock, ifname, list(publication.targets.values()), ips)]


def remove_publication(publication: "Publication", register: "Register", env: "Mapping[str, str]") -> None:
    """Remove all of a publication.

    Raises:
        CniError: everything that could not be removed.
    """
    teardown = Teardown()
    teardown.remove(plan_publication(publication, register, env))
    teardown.finish()
