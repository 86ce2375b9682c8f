"""`shibafu logs`."""

import time
from argparse import ArgumentParser, Namespace
from codecs import getincrementaldecoder
from contextlib import closing

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.container.log_reader import LogReader

_PAUSE = 0.1


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="the container")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing until the container ends")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    record = open_containers(context, arguments).find(arguments.container)
    # A character may be in two pieces, or in two files.
    decoder = getincrementaldecoder("utf-8")("replace")
    said = ""
    with closing(LogReader(record.log)) as log:
        while True:
            # Asked first: what is printed between the last look and the end is not to be lost.
            is_running = arguments.follow and record.calc_status().state == "running"
            while piece := log.read():
                text = decoder.decode(piece)
                if context.out.is_json:
                    said += text
                else:
                    context.out.stream.write(text)
            context.out.stream.flush()
            if not is_running:
                break
            time.sleep(_PAUSE)
    context.out.data({"name": record.name, "log": said})
    return 0


SUBCOMMAND = Subcommand(
    "logs",
    "print what a container has printed",
    "Print what a container in the background has printed, on standard output and standard error. Of more "
    "than 10 MiB, the last 10 to 20 are kept.",
    ("shibafu logs web1", "shibafu logs --follow web1"),
    _run,
    _add_arguments,
)
