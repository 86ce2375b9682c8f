"""`shibafu engine stop`."""

import signal
from argparse import Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError

SERVICE = "shibafu-engine.service"


def _run(context: Context, _arguments: Namespace) -> int:
    from shibafu.cli.engine.client import ask_engine, find_engine, require_root, wait_for_end

    require_root()
    place = find_engine().place
    found = ask_engine(place)
    if found is not None:
        if found.status["supervisor"]:
            raise CommandError(
                f"{found.status['supervisor']} keeps the engine running", f"systemctl stop {SERVICE}"
            )
        wait_for_end(found, signal.SIGTERM)
    context.out.data({"stopped": found is not None})
    context.out.text("the engine is not running" if found is None else "stopped the engine")
    return 0


SUBCOMMAND = Subcommand(
    "stop",
    "stop the engine",
    "Stop the engine and wait for the calls it is running, for at most 95 seconds. Calls that are made\n"
    "from then on start cold. It is not an error if no engine is running.",
    ("shibafu engine stop", f"systemctl stop {SERVICE}   # if systemd has started it"),
    _run,
)
