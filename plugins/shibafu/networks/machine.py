"""This machine: where networks, plugins and results are, and what identifies it."""

from dataclasses import dataclass

from shibafu.lean.files import read_file

CONF_DIR = "/etc/cni/net.d"
CNI_PATH = "/opt/cni/bin:/usr/lib/cni"
CACHE_DIR = "/var/lib/cni/results"
_MACHINE_ID = "/etc/machine-id"


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


def read_machine_id() -> str:
    """Return what identifies this machine, machine-id(5); empty if it has none."""
    return (read_file(_MACHINE_ID, 64, follow=True) or b"").decode("ascii", "replace").strip()
