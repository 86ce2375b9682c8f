"""shibafu-bridge: attaches containers to a Linux bridge.

`__main__` composes the plugin; each verb has its module (`add`, `delete`, `check`, `status`, `gc`).
`config` reads the configuration, `addressing` asks the IPAM plugin. What ADD builds lies in `resources`;
`compat` knows what the reference's plugin left.
"""
