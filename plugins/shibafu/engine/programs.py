"""The executables of the suite, and the modules whose `main` they run; the freezer reads this list, too."""

# Called for each container, and served by the engine.
SERVED = {
    "shibafu-bandwidth": "shibafu.bandwidth.__main__",
    "shibafu-bridge": "shibafu.bridge.__main__",
    "shibafu-firewall": "shibafu.firewall.__main__",
    "shibafu-hook": "shibafu.hook.__main__",
    "shibafu-ipam": "shibafu_ipam.__main__",
    "shibafu-loopback": "shibafu.loopback.__main__",
    "shibafu-overlay": "shibafu.overlay.__main__",
    "shibafu-portmap": "shibafu.portmap.__main__",
    "shibafu-tuning": "shibafu.tuning.__main__",
}
# The plugins whose places some of them can take: the reference's, and flannel's.
REPLACED = {
    "shibafu-bandwidth": "bandwidth",
    "shibafu-bridge": "bridge",
    "shibafu-firewall": "firewall",
    "shibafu-ipam": "host-local",
    "shibafu-loopback": "loopback",
    "shibafu-overlay": "flannel",
    "shibafu-portmap": "portmap",
    "shibafu-tuning": "tuning",
}
# Started by the command `shibafu`.
RESIDENT = {
    "shibafu-engine": "shibafu.engine.__main__",
    "shibafu-monitor": "shibafu.monitor.__main__",
}
