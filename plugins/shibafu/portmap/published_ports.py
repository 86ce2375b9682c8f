"""The ports of an attachment as one resource, for code that inspects and repairs what a chain has made."""

from shibafu.netfilter.backend import choose_backend
from shibafu.portmap.answers import AnswerRoutes
from shibafu.portmap.chosen import find_chosen
from shibafu.portmap.config import PortmapConfig
from shibafu.portmap.publication import Publication
from shibafu.portmap.register import Register
from shibafu.portmap.resources import LoopbackRoute, PortClaim, PortRules
from shibafu.resource.base import RULES, Fault, Resource, find_faults
from shibafu.resource.identity import identify_netns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.view import View


def plan_portmap(request: "Request", result: "Result", view: "View") -> list[Resource]:
    """Return what a container's ports are made of; nothing where it publishes none.

    Args:
        request: a call of the plugin.
        result: what its chain answered.
        view: the host's namespace, including the container's.

    Raises:
        CniError: the configuration is refused.
    """
    config = PortmapConfig(request)
    if not config.mappings:
        return []
    owner = request.network, request.container_id, request.ifname
    backend = choose_backend(config.backend, request.env)
    identity = identify_netns(request.netns)
    publication = Publication.of_config(config, owner, backend, config.find_targets(result), identity)
    with Register() as register:
        known = register.find(publication.key)
    for mapping in publication.mappings:
        chosen = find_chosen(mapping, known.mappings) if not mapping.first and known is not None else None
        if chosen is not None:
            mapping.first = chosen.first
    # A port that nobody remembers is another one now.
    publication.mappings = [mapping for mapping in publication.mappings if mapping.first]
    return [PublishedPorts(publication, result, request.env)]


class PublishedPorts(Resource):
    """The ports of the host that lead to the container, and the way back of its answers.

    Args:
        publication: what is published.
        result: what the chain answered.
        env: the environment.
    """

    __slots__ = ("_env", "_publication", "_result")
    medium = RULES

    def __init__(self, publication: Publication, result: "Result", env: "Mapping[str, str]") -> None:
        self._publication = publication
        self._result = result
        self._env = env

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "published ports"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {
            "portMappings": [one.to_json() for one in self._publication.mappings],
            "backend": self._publication.backend,
        }

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        with Register() as register:
            found = find_faults(self._list_parts(register, view), view)
            return [Fault(fault.what, is_switch=fault.is_switch) for fault in found]

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: another container, or a program of the host, has taken a port; or a rule is refused.
        """
        with Register() as register:
            if register.find(self._publication.key) is None:
                PortClaim(self._publication, register, self._env).ensure(view)
            rules, *others = self._list_parts(register, view)
            if isinstance(rules, PortRules) and any(rules.faults(view)):
                rules.restore()
            for part in others:
                part.ensure(view)
        return False

    def remove(self) -> None:
        """See `Resource.remove`: the chain's DEL does."""

    def _list_parts(self, register: Register, view: "View") -> list[Resource]:
        publication = self._publication
        parts: list[Resource] = [PortRules(publication, register, self._env)]
        if publication.snat and publication.of_version(4):
            parts.append(LoopbackRoute(publication))
        if view.inside is not None:
            targets = list(publication.targets.values())
            parts.append(AnswerRoutes(view.inside.sock, publication.ifname, targets, self._result.ips))
        return parts
