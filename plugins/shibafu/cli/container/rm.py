"""`shibafu rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_containers, open_containers
from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    add_containers(parser)
    parser.add_argument("-f", "--force", action="store_true", help="stop running containers first")


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    records = [containers.find(name) for name in arguments.containers]
    for record in records:
        containers.remove(record, arguments.force)
        context.out.text(record.name)
    context.out.data({"removed": [record.name for record in records]})
    return 0


SUBCOMMAND = Subcommand(
    "rm",
    "remove containers",
    "Remove containers and everything they have written. Running containers are refused.",
    ("shibafu rm web1 web2", "shibafu rm --force web1          # stop it first"),
    _run,
    _add_arguments,
)
