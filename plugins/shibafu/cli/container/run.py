"""`shibafu run`."""

import argparse
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.policy_options import add_policy_options
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.container.errors import NOT_STARTED

if TYPE_CHECKING:
    from shibafu.container.container_record import ContainerRecord
    from shibafu.container.containers import Containers
    from shibafu.container.privileges import Privileges


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image's name, a directory, or a tar archive")
    command = parser.add_argument(
        "command",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        help="the command to run; by default the image's",
    )
    command.required = False  # argparse would name it together with a missing IMAGE
    parser.add_argument("-d", "--detach", action="store_true", help="run it in the background")
    parser.add_argument("--rm", action="store_true", help="remove the container when it ends")
    parser.add_argument("--name", default="", help="the container's name; by default a random one")
    parser.add_argument("-i", "--interactive", action="store_true", help="connect standard input")
    parser.add_argument("-t", "--tty", action="store_true", help="allocate a terminal")
    network = parser.add_argument_group("its networks")
    network.add_argument(
        "--network",
        metavar="NETWORK",
        action="append",
        default=[],
        help="a network, 'none', or 'host'; may be repeated for eth0, eth1, ...; by default 'bridge'",
    )
    network.add_argument("--ip", default="", help="its address in the first network")
    network.add_argument("--mac", default="", help="its hardware address in the first network")
    network.add_argument(
        "-p",
        "--publish",
        metavar="PORT",
        action="append",
        default=[],
        help="publish ports: [IP:]HOST:CONTAINER[/PROTOCOL], such as 8080:80, 8000-8010:80-90 or 0:80",
    )
    network.add_argument(
        "--bandwidth", metavar="LIMITS", default="", help="limits in bit/s, such as ingress=100M,egress=1G"
    )
    add_policy_options(parser)
    process = parser.add_argument_group("its process")
    process.add_argument(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="set an environment variable",
    )
    process.add_argument(
        "-v",
        "--volume",
        metavar="SOURCE:PATH[:ro]",
        action="append",
        default=[],
        help="mount a directory or file of the host in the container",
    )
    process.add_argument("-w", "--workdir", metavar="PATH", default="", help="the working directory")
    process.add_argument("-u", "--user", metavar="USER[:GROUP]", default="", help="the user to run as")
    process.add_argument("--hostname", default="", help="the host name; by default the container's name")
    rights = parser.add_argument_group("its rights")
    rights.add_argument(
        "--cap-add",
        metavar="CAPABILITY",
        action="append",
        default=[],
        help="add a capability to the default ones, such as NET_RAW; ALL for all",
    )
    rights.add_argument(
        "--cap-drop",
        metavar="CAPABILITY",
        action="append",
        default=[],
        help="drop a capability; ALL for all except those that are added",
    )
    rights.add_argument(
        "--security-opt",
        metavar="OPTION",
        action="append",
        default=[],
        help="seccomp=FILE, seccomp=unconfined, or no-new-privileges",
    )
    rights.add_argument(
        "--ulimit",
        metavar="NAME=SOFT[:HARD]",
        action="append",
        default=[],
        help="a resource limit for each process, such as nofile=1024:4096",
    )
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cli.container.options import calc_specification, require_privileges
    from shibafu.container.errors import ContainerError
    from shibafu.networks.errors import CommandError
    from shibafu.networks.lifecycle import ensure_networks

    containers = open_containers(context, arguments)
    try:
        spec, unpack = calc_specification(arguments, containers.images, sys.stdin.isatty())
        rights = require_privileges(spec)
        context.out.warn(ensure_networks(context.conf_dir, spec.networks))
        record = containers.create(spec, unpack)
        return _start(context, arguments, containers, record, rights)
    except ContainerError as error:
        raise CommandError(error.message, error.hint, error.status) from None


def _start(
    context: Context,
    arguments: Namespace,
    containers: "Containers",
    record: "ContainerRecord",
    rights: "Privileges",
) -> int:
    from shibafu.container.errors import ContainerError

    if not arguments.detach:
        stdin = None if arguments.interactive or arguments.tty else subprocess.DEVNULL
        return containers.run(record, stdin, rights)
    try:
        pid = containers.start(record, rights)
    except ContainerError:
        if record.directory.exists():
            containers.remove(record, force=True)
        raise
    context.out.data({"name": record.name, "pid": pid})
    context.out.text(record.name)
    return 0


SUBCOMMAND = Subcommand(
    "run",
    "run a program in a new container",
    "Run a program in a new container of runc, which shibafu-hook attaches to its networks. The network\n"
    "'bridge' (NAT; 172.20.0.0/24 if that is free) is created on first use. IMAGE is a root file system:\n"
    "the name of an image (shibafu image ls), a directory, or a tar archive; the container writes to a\n"
    "layer of its own. A container that is started again under the same name gets its addresses back,\n"
    "unless they have been given out since. The exit status is the program's; 127 if there is no such\n"
    "program, 126 if it cannot be executed, 125 if the container does not start for another reason.",
    (
        "shibafu image import alpine --builtin                       # an image to start with",
        "shibafu run -d --name web1 alpine sleep 600",
        "shibafu run --rm -it alpine                                 # a shell",
        "shibafu run --rm alpine ping -c1 172.20.0.1",
        "shibafu run -d --ip 172.20.0.100 --name fixed alpine sleep 600",
        "shibafu run -d -p 8080:80 -v /srv/www:/www:ro alpine httpd -f -h /www",
        "shibafu run -d --network blue --network green alpine sleep 600",
        "shibafu run --rm --cap-drop ALL --security-opt no-new-privileges alpine id",
    ),
    _run,
    _add_arguments,
    NOT_STARTED,
)
