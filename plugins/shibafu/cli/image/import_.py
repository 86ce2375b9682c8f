"""`shibafu image import`."""

import sys
from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import UsageError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the image's name")
    parser.add_argument(
        "source",
        metavar="FILE|DIR",
        nargs="?",
        default="",
        help="a root file system as a directory or tar archive, an OCI layout, or what `docker save` writes",
    )
    parser.add_argument("--builtin", action="store_true", help="build it from this machine's busybox")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from pathlib import Path

    from shibafu.container.builtin import make_builtin
    from shibafu.container.importing import import_image

    if arguments.builtin == bool(arguments.source):
        raise UsageError("name a file or directory, or use --builtin, but not both")
    source = "busybox of this machine" if arguments.builtin else str(Path(arguments.source).resolve())
    if sys.stderr.isatty():
        sys.stderr.write(f"importing {source} as {arguments.name} ...\n")
    with open_containers(context, arguments).images.making(arguments.name, source) as making:
        if arguments.builtin:
            make_builtin(making)
        else:
            import_image(making, Path(source))
    context.out.data({"name": arguments.name, "source": source})
    context.out.text(f"{arguments.name}: {source}")
    return 0


SUBCOMMAND = Subcommand(
    "import",
    "make an image from a directory or an archive",
    "Make an image from a root file system: a directory, a tar archive (compressed or not), an OCI layout\n"
    "as a directory or archive, or what `docker save` writes. The last two need umoci and skopeo.",
    (
        "shibafu image import alpine --builtin          # busybox, for trying things out",
        "debootstrap --variant=minbase bookworm /tmp/debian && shibafu image import debian /tmp/debian",
        "docker save nginx -o nginx.tar; shibafu image import nginx nginx.tar",
    ),
    _run,
    _add_arguments,
)
