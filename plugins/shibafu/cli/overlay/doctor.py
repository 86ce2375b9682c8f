"""`shibafu overlay doctor`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import FAILED


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", nargs="?", default="", help="only this one")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.diagnosis import diagnose_overlay

    out, data = context.out, []
    for settings in load_overlays(arguments.config, arguments.network):
        out.text(f"network {settings.name}")
        for diagnosis in diagnose_overlay(settings):
            result = out.style.paint("red", diagnosis.trouble) if diagnosis.trouble else "ok"
            out.text(f"  {diagnosis.check}: {result}")
            out.text(f"    {diagnosis.hint}" if diagnosis.hint else "")
            out.text(f"    {diagnosis.note}" if diagnosis.note else "")
            data.append(
                {
                    "network": settings.name,
                    "check": diagnosis.check,
                    "trouble": diagnosis.trouble,
                    "hint": diagnosis.hint,
                    "note": diagnosis.note,
                }
            )
    out.data(data)
    return FAILED if any(one["trouble"] for one in data) else 0


SUBCOMMAND = Subcommand(
    "doctor",
    "find out why hosts do not reach each other",
    "Ask each member of etcd, and look at the link, the agent and the devices of this host. Then ask the\n"
    "other hosts: by their own addresses, through the VXLAN, and with packets of the largest size. The\n"
    "clock is compared with those of etcd, and packets that arrive with wrong checksums are counted. What\n"
    "is wrong is told with what to change; the exit code is 1 if there is anything.",
    ("shibafu overlay doctor", "shibafu overlay doctor blue --format json"),
    _run,
    _add_arguments,
)
