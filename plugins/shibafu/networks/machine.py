"""This machine: where networks, plugins and results are."""

from dataclasses import dataclass

CONF_DIR = "/etc/cni/net.d"
CNI_PATH = "/opt/cni/bin:/usr/lib/cni"
CACHE_DIR = "/var/lib/cni/results"


@dataclass(frozen=True)
class Directories:
    """The directories of a command line.

    Args:
        conf_dir: the directory of network configurations.
        cni_path: the directories of plugins.
        cache_dir: the results that runtimes keep.
    """

    conf_dir: str
    cni_path: list[str]
    cache_dir: str
