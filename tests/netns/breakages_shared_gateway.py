"""How to break this host's part in a gateway that hosts share, which needs keepalived."""

from netns.breakage import Breakage

_UNLIKE = "{file} is missing, or was not written for this configuration and link"

# `path` is where a test has the file.
SHARED_GATEWAY = (
    Breakage("VirtualRouter.file", "rm {path}", _UNLIKE),
    Breakage("VirtualRouter.link", "sed -i 's/interface {link}/interface other0/' {path}", _UNLIKE),
    Breakage("VirtualRouter.addresses", "sed -i '/ {address}$/d' {path}", _UNLIKE),
    Breakage(
        "VirtualRouter.addresses",
        "ip addr flush dev {link} to {address}; ip addr add {address}/{length} dev {link} nodad",
        "address {address}/{length} of the shared gateway is always here, whichever host is the gateway",
    ),
    Breakage("VirtualRouter.virtualRouterID", "sed -i 's/router_id .*/router_id 256/' {path}", _UNLIKE),
    Breakage("VirtualRouter.priority", "sed -i 's/priority .*/priority 255/' {path}", _UNLIKE),
)
