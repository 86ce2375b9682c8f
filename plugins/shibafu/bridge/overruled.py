"""What drops a network's packets though its own rules accept them: asked by CHECK, STATUS and `repair`."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.ip import Cidr
from shibafu.netfilter.backend import choose_backend
from shibafu.netfilter.drops import find_drop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.passage import Drop


def find_overruling_drop(
    config: BridgeConfig, subnets: list[Cidr], env: "Mapping[str, str]"
) -> "Drop | None":
    """Return the first chain of others that certainly drops what is to get through; None if there is none.

    Raises:
        CniError: there is no such backend.
    """
    backend = choose_backend(config.ip_masq_backend, env)
    return find_drop(config.gateway_link, subnets, config.ip_masq, backend, env) if subnets else None
