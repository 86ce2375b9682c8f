"""The containers of a command line: where they are kept, and which programs run alongside."""

import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from shibafu.cli.subcommand import Context
from shibafu.container.containers import Containers, Programs
from shibafu.networks.errors import CommandError

DATA_DIR = "/var/lib/shibafu"
CGROUP_PARENT = "/shibafu"


def add_data_dir(parser: ArgumentParser) -> None:
    """Add the option that says where images and containers are."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        default=os.environ.get("SHIBAFU_DATA_DIR") or DATA_DIR,
        help=f"directory of images and containers ($SHIBAFU_DATA_DIR, {DATA_DIR})",
    )


def add_containers(parser: ArgumentParser) -> None:
    """Add the containers of a subcommand that does something to each, and where they are."""
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="which containers")
    add_data_dir(parser)


def open_containers(context: Context, arguments: Namespace) -> Containers:
    """Return the containers in the directories of a command line.

    Raises:
        CommandError: only root can have one.
    """
    if os.geteuid() != 0:
        raise CommandError("only root can use containers and images", "try it with sudo")
    hook_flags = [
        f"--conf-dir={os.path.abspath(context.conf_dir)}",
        f"--cache-dir={os.path.abspath(context.cache_dir)}",
        f"--cni-path={':'.join(map(os.path.abspath, context.cni_path))}",
    ]
    programs = Programs(
        hook=find_sibling("shibafu-hook"),
        hook_flags=hook_flags,
        monitor=find_sibling("shibafu-monitor"),
        cgroup_parent=os.environ.get("SHIBAFU_CGROUP_PARENT") or CGROUP_PARENT,
    )
    return Containers(Path(os.path.abspath(arguments.data_dir)), programs)


def find_sibling(name: str) -> str:
    """Return the path of a program that was installed together with this one, or is in PATH."""
    own = os.path.realpath(sys.executable if getattr(sys, "frozen", False) else sys.argv[0])
    directory = os.path.dirname(own)
    places = [directory]
    if os.path.basename(os.path.dirname(directory)) == "versions":
        # As install.sh has it; this link outlives an upgrade, under a container that is running.
        places.insert(0, os.path.abspath(f"{directory}/../../current"))
    for place in places:
        if os.path.isfile(f"{place}/{name}"):
            return f"{place}/{name}"
    return shutil.which(name) or name
