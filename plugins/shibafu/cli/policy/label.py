"""`shibafu policy label`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "container", metavar="CONTAINER|NETNS", help="a container's ID, or a namespace's name or path"
    )
    parser.add_argument(
        "labels",
        metavar="KEY=VALUE|KEY-",
        nargs="*",
        type=_parse_change,
        help="a label to set, or with - at its end, to remove; by default the labels are only shown",
    )


def _parse_change(text: str) -> tuple[str, str | None]:
    from shibafu.policy.label_syntax import parse_label, require_label_key

    try:
        if text.endswith("-") and "=" not in text:
            return require_label_key(text[:-1]), None
        return parse_label(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import find_target
    from shibafu.networks.policy_control import enforce_labels
    from shibafu.networks.policy_labels import change_labels, find_labels

    target = find_target(arguments.container, context.cache_dir)
    changes = dict(arguments.labels)
    if changes:
        labels = change_labels(target.container_id, changes, context.cache_dir, enforce_labels)
    else:
        labels = find_labels(target.container_id)
    context.out.data({"containerID": target.container_id, "labels": labels})
    shown = " ".join(f"{key}={value}" for key, value in sorted(labels.items()))
    context.out.text(f"{target.container_id}: {shown or 'no labels'}")
    return 0


SUBCOMMAND = Subcommand(
    "label",
    "show or change a container's labels",
    "Change the labels by which network policies find a running container; the policies that select it\n"
    "afterwards take effect at once, for new connections. Labels that are not named stay. Without labels,\n"
    "it only shows them.",
    (
        "shibafu policy label web",
        "shibafu policy label web app=web tier=front",
        "shibafu policy label web tier-                   # remove a label",
    ),
    _run,
    _add_arguments,
)
