"""`shibafu exec`."""

import argparse
import os
from argparse import ArgumentParser, Namespace

from shibafu.command.container.engine import add_data_dir, open_engine
from shibafu.command.errors import CommandError
from shibafu.command.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="which container")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run")
    parser.add_argument("-d", "--detach", action="store_true", help="leave it running in the background")
    parser.add_argument("-i", "--interactive", action="store_true", help="let it read standard input")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    parser.add_argument(
        "-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="a variable of its environment"
    )
    parser.add_argument("-w", "--workdir", metavar="PATH", default="", help="its working directory")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", default="", help="who it runs as")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from pathlib import Path

    from shibafu.container.programs import find_program
    from shibafu.container.users import find_user

    record = open_engine(context, arguments).find(arguments.container)
    if record.calc_status().state != "running":
        raise CommandError(
            f"container {record.name} is not running", f"start it: shibafu start {record.name}"
        )
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        raise CommandError("nothing to run", f"such as: shibafu exec {record.name} ip addr")
    spec = record.load()
    uid, gid = spec.uid, spec.gid
    if arguments.user:
        uid, gid = find_user(Path(spec.rootfs), arguments.user)
    # Otherwise it complains in the form of a log.
    argv = ["runc", "--log", os.devnull, "--root", record.runc_root(), "exec"]
    argv += ["--user", f"{uid}:{gid}", "--cwd", arguments.workdir or spec.workdir]
    argv += [option for option in ("--detach", "--tty") if getattr(arguments, option[2:])]
    for variable in arguments.env:
        argv += ["--env", variable]
    if not (arguments.interactive or arguments.tty):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    context.out.stream.flush()
    # Signals, terminal and exit status are runc's from here on.
    os.execv(find_program("runc", "it runs containers"), [*argv, record.name, *words])  # noqa: S606


SUBCOMMAND = Subcommand(
    "exec",
    "run another program in a container",
    "Run another program in a container that is running. The exit status is the program's;\n"
    "255 when it does not begin.",
    (
        "shibafu exec web1 ip addr show eth0",
        "shibafu exec -it web1 sh                                    # a shell",
        "shibafu exec -d web1 httpd -f -h /www",
    ),
    _run,
    _add_arguments,
)
