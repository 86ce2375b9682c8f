"""The CNI protocol: what every plugin of the suite shares, and nothing of what one plugin does.

`skel` runs a plugin (environment and stdin in, JSON out), `config` reads a network
configuration, `result` is what ADD answers, `delegate` calls other plugins.
"""
