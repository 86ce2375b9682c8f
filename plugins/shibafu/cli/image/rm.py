"""`shibafu image rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="which images")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    for name in arguments.images:
        users = containers.find_users(name)
        if users:
            raise CommandError(
                f"image {name} is used by {', '.join(users)}", f"remove them: shibafu rm {' '.join(users)}"
            )
        containers.images.remove(name)
        context.out.text(name)
    context.out.data({"removed": arguments.images})
    return 0


SUBCOMMAND = Subcommand(
    "rm",
    "remove images",
    "Remove images. An image that a container uses is refused.",
    ("shibafu image rm alpine",),
    _run,
    _add_arguments,
)
