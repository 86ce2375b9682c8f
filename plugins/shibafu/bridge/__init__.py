"""shibafu-bridge: attaches containers to a Linux bridge.

`__main__` composes the plugin; each verb has its module (`add`, `delete`, `check`, `status`, `gc`).
`config` reads the configuration, `addressing` completes the result. `plan` lists what an attachment is made
of, `removal` what DEL takes away; the parts are in `resources`. `compat` knows what the reference's plugin
left.
"""
