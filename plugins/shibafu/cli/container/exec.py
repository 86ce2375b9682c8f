"""`shibafu exec`."""

import argparse
import os
from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.container.errors import ContainerError
from shibafu.networks.errors import CommandError

# The exit status, as runc has it.
_NOT_BEGUN = 255


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="the container")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command to run")
    parser.add_argument("-d", "--detach", action="store_true", help="run it in the background")
    parser.add_argument("-i", "--interactive", action="store_true", help="connect standard input")
    parser.add_argument("-t", "--tty", action="store_true", help="allocate a terminal")
    parser.add_argument(
        "-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="set an environment variable"
    )
    parser.add_argument("-w", "--workdir", metavar="PATH", default="", help="the working directory")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", default="", help="the user to run as")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from pathlib import Path

    from shibafu.container.accounts import require_regular_accounts
    from shibafu.container.runc_exec import run_exec
    from shibafu.container.tools import find_tool
    from shibafu.container.users import find_user

    record = open_containers(context, arguments).find(arguments.container)
    status = record.calc_status()
    if not status.pid:
        raise CommandError(
            f"container {record.name} is not running", f"start it: shibafu start {record.name}"
        )
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        raise CommandError("no command to run", f"for example: shibafu exec {record.name} ip addr")
    spec = record.load()
    uid, gid = spec.uid, spec.gid
    if arguments.user:
        uid, gid = find_user(Path(spec.rootfs), arguments.user)
    # Without a log of its own it complains in the form of one.
    runc = [find_tool("runc", "containers need it"), "--log", os.devnull, "--root", record.runc_root()]
    options = ["--user", f"{uid}:{gid}", "--cwd", arguments.workdir or spec.workdir]
    options += [option for option in ("--detach", "--tty") if getattr(arguments, option[2:])]
    for variable in arguments.env:
        options += ["--env", variable]
    if not (arguments.interactive or arguments.tty):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    context.out.stream.flush()
    try:
        require_regular_accounts(record.name, f"/proc/{status.pid}/root", {})
        return run_exec(runc, options, record.directory, words)
    except ContainerError as error:
        raise CommandError(error.message, error.hint, _NOT_BEGUN) from None


SUBCOMMAND = Subcommand(
    "exec",
    "run a program in a running container",
    "Run another program in a running container. The exit status is the program's, or 255 if it\n"
    "cannot be started.",
    (
        "shibafu exec web1 ip addr show eth0",
        "shibafu exec -it web1 sh                                    # a shell",
        "shibafu exec -d web1 httpd -f -h /www",
    ),
    _run,
    _add_arguments,
)
