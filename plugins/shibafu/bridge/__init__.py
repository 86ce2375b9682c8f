"""shibafu-bridge: attaches containers to a Linux bridge.

`__main__` composes the plugin; each verb has its module (`add`, `delete`, `check`, `status`, `gc`).
`config` reads the configuration. What ADD builds lies in `host` (bridge, gateway addresses),
`container` (the container's end of the veth pair), `addressing` (IPAM) and `masquerade` (firewall);
`state` remembers what is attached.
"""
