"""What containers were attached with in addition to what their network says: published ports, and limits."""

from shibafu.cni.version import SUPPORTED
from shibafu.networks.traffic_limits import adopt_limits, read_attached_chain
from shibafu.runtime.cache import CachedAttachment
from shibafu.runtime.conflist import NetworkList, append_plugin
from shibafu.runtime.roles import has_capability

_PORTMAP = "shibafu-portmap"


def adopt_chain(network: NetworkList, cached: CachedAttachment | None) -> NetworkList:
    """Return a network with what a container was given at the end of its own chain.

    Args:
        network: the network as it is configured now.
        cached: the container's attachment; None where no runtime knows it.
    """
    network = adopt_limits(network, cached)
    attached = read_attached_chain(cached)
    own = [plugin for plugin in attached.plugins if plugin.get("type") == _PORTMAP] if attached else []
    if not own or has_capability(network, "portMappings"):
        return network
    return append_plugin(network, own[0], list(SUPPORTED))
