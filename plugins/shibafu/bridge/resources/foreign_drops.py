"""What drops a network's packets though its own rules accept them: asked by CHECK, STATUS and `repair`."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import LIMITED_CONNECTIVITY, CniError
from shibafu.lean.ip import Cidr, parse_cidr
from shibafu.netfilter.backend import choose_backend
from shibafu.netfilter.drops import find_drop
from shibafu.resource.base import NETWORK, RULES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.resources.masquerade import Rules
    from shibafu.cni.request import Request
    from shibafu.netfilter.trace import Drop
    from shibafu.resource.view import View


class ForeignDrops(Resource):
    """That what the network's own rules accept gets through the chains of others, too.

    Args:
        config: the network's configuration.
        subnets: those of its containers.
        env: the environment.
        rules: the network's own, if it has any; `prepare` may have found that there is nothing to look for.
    """

    __slots__ = ("_config", "_env", "_rules", "_subnets")
    medium = RULES
    scope = NETWORK

    def __init__(
        self, config: BridgeConfig, subnets: list[Cidr], env: "Mapping[str, str]", rules: "Rules | None"
    ) -> None:
        self._rules = rules
        self._config = config
        self._subnets = subnets
        self._env = env

    @classmethod
    def obstacle(cls, request: "Request", config: BridgeConfig) -> CniError | None:
        """See `Resource.obstacle`: a firewall that drops everything that containers would send."""
        try:
            subnets = [parse_cidr(text).network for text in find_stated_subnets(request)]
        except ValueError:
            return None  # that is for the IPAM plugin to say
        drop = _find_drop(config, subnets, request.env)
        if drop is None:
            return None
        return CniError(LIMITED_CONNECTIVITY, drop.describe(config.network), drop.advice)

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        is_clear = self._rules is not None and self._rules.is_clear
        drop = _find_drop(self._config, self._subnets, self._env, is_clear)
        if drop is None:
            return []
        return [Fault(drop.describe(self._config.network), drop.advice, is_mendable=False)]

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"subnets": [str(subnet) for subnet in self._subnets], "ipMasq": self._config.ip_masq}


def _find_drop(
    config: BridgeConfig, subnets: list[Cidr], env: "Mapping[str, str]", is_clear: bool = False
) -> "Drop | None":
    """Return the first chain of others that certainly drops what is to get through; None if there is none.

    Raises:
        CniError: the backend is unknown.
    """
    backend = choose_backend(config.ip_masq_backend, env)
    needs = config.gateway_link, subnets, config.ip_masq, backend, env
    return find_drop(*needs, is_clear) if subnets else None


def find_stated_subnets(request: "Request") -> list[str]:
    """Return the subnets and addresses that a configuration states, whatever its IPAM plugin calls them."""
    ranges = request.config.section("runtimeConfig").get("ipRanges")
    return _collect_subnets([request.config.section("ipam").values, ranges])


def _collect_subnets(value: object, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in _collect_subnets(inner, name.lower())]
    if isinstance(value, list):
        return [text for inner in value for text in _collect_subnets(inner, key)]
    return [value] if key in ("subnet", "address") and isinstance(value, str) else []
