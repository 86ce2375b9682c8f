"""`shibafu network down`."""

from argparse import Namespace
from dataclasses import asdict

from shibafu.cli.network.pause import add_pause_arguments
from shibafu.cli.subcommand import Context, Subcommand


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.pausing import pause_network, require_own_bridge, set_bridge_down

    failures = Failures(context.out.failure)
    paused = []
    everything = load_networks(context.conf_dir, [], [])
    with open_kernel() as kernel:
        for network in load_networks(context.conf_dir, arguments.networks, []):
            others = [o for o in everything if o.name not in (network.name, *arguments.networks)]
            with failures.part(f"network {network.name}"):
                bridge = require_own_bridge(network, others)
                pause = pause_network(network.name, arguments.seconds)
                paused.append({"network": network.name, "pause": asdict(pause)})
                state = "down" if set_bridge_down(kernel, bridge) else "missing"
                context.out.text(f"{network.name}: bridge {bridge} is {state}, {pause.describe()}")
    context.out.data({"paused": paused})
    return failures.status


SUBCOMMAND = Subcommand(
    "down",
    "pause networks and set their bridges down",
    "Pause networks as `shibafu network pause` does, and set their bridges down, which cuts off their\n"
    "containers. `shibafu network resume` sets them up again, with the addresses that went with them.",
    (
        "shibafu network down blue",
        "shibafu network down blue --for 10m   # then it is set up by the next heal, repair or ADD",
    ),
    _run,
    add_pause_arguments,
)
