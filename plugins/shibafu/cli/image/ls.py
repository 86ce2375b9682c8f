"""`shibafu image ls`."""

import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.container.ps import format_age
from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    store = open_containers(context, arguments).images
    store.remove_leftovers()
    images = store.images()
    if arguments.quiet:
        names = [image.name for image in images]
        context.out.data(names)
        context.out.text("\n".join(names))
        return 0
    context.out.data([asdict(image) for image in images])
    rows = [
        (
            image.name,
            f"{format_age(time.time() - image.created)} ago",
            " ".join([*image.defaults.entrypoint, *image.defaults.command]),
            image.source,
        )
        for image in images
    ]
    context.out.table(("NAME", "IMPORTED", "COMMAND", "SOURCE"), rows)
    return 0


SUBCOMMAND = Subcommand(
    "ls",
    "list images",
    "List the images that `shibafu run` knows by name.",
    ("shibafu image ls",),
    _run,
    _add_arguments,
)
