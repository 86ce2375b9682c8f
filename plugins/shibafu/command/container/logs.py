"""`shibafu logs`."""

import time
from argparse import ArgumentParser, Namespace

from shibafu.cni.files import open_file
from shibafu.command.container.engine import add_data_dir, open_engine
from shibafu.command.subcommand import Context, Subcommand

_PAUSE = 0.1
_PIECE = 1 << 16


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="which container")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    record = open_engine(context, arguments).find(arguments.container)
    said = ""
    with open(record.log, encoding="utf-8", errors="replace", opener=open_file) as log:
        while True:
            # Asked first: what is printed between the last look and the end is not to be lost.
            is_running = arguments.follow and record.calc_status().state == "running"
            while piece := log.read(_PIECE):
                if context.out.is_json:
                    said += piece
                else:
                    context.out.stream.write(piece)
            context.out.stream.flush()
            if not is_running:
                break
            time.sleep(_PAUSE)
    context.out.data({"name": record.name, "log": said})
    return 0


SUBCOMMAND = Subcommand(
    "logs",
    "print what a container has printed",
    "Print what a container in the background has printed, on standard output and standard error.",
    ("shibafu logs web1", "shibafu logs --follow web1"),
    _run,
    _add_arguments,
)
