"""`shibafu overlay rejoin`."""

from argparse import ArgumentParser, Namespace
from typing import Any

from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError
from shibafu.networks.text import format_count

# Seconds that the agent has for it.
_PATIENCE = 15.0


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "--new-subnet", action="store_true", help="get another one, if another host has this host's"
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="even if containers have addresses of the lost subnet"
    )
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.agent_state import is_agent_running, read_agent_state
    from shibafu.overlay.rejoining import ask_to_rejoin, make_rejoin_request

    (settings,) = load_overlays(arguments.config, arguments.network)
    before = read_agent_state(settings.name)
    if not before.get("subnet"):
        raise CommandError(
            f"this host has not joined {settings.name} since it started",
            "start the agent: shibafu overlay run",
        )
    is_running = is_agent_running()
    if arguments.new_subnet and not is_running:
        raise CommandError(
            "the agent is not running, and containers may come before it has got another subnet",
            "start it first: systemctl start shibafu-overlay",
        )
    # Where it has its subnet, it keeps it.
    wants_new = arguments.new_subnet and before.get("state") != "joined"
    is_careful = wants_new and not arguments.force
    stores, known = _look_at_leases(context, settings.subnet_file, before) if is_careful else ([], set())
    request = make_rejoin_request(wants_new, stores, known)
    is_answered = ask_to_rejoin(settings.name, request, _PATIENCE)
    after = read_agent_state(settings.name)
    if not after:
        raise CommandError(
            f"the agent's state of {settings.name} has been removed meanwhile",
            "`shibafu overlay status` shows what it does",
        )
    if is_running and not is_answered:
        later = "ask again later" if wants_new else "it will as soon as it can"
        raise CommandError(
            f"the agent has not joined again within {_PATIENCE:.0f} seconds: {later}",
            after.get("trouble") or "`shibafu overlay status` shows what it does",
        )
    if is_answered and after["state"] != "joined":
        if is_careful:
            # Some may have come while the agent was asked, which has seen them, too.
            _look_at_leases(context, settings.subnet_file, after)
        raise CommandError(after["trouble"], after["hint"])
    _print(context, before, after, is_answered)
    return 0


def _look_at_leases(context: Context, subnet_file: str, state: dict[str, Any]) -> tuple[list[str], set[str]]:
    """Refuse to leave containers behind in a subnet that leads to another host.

    Returns:
        Where the leases are, and which of the subnet's do not belong to containers.

    Raises:
        CommandError: there are some.
    """
    from ipaddress import ip_network

    from shibafu.lean.ip import parse_cidr
    from shibafu.networks.configured import load_networks
    from shibafu.networks.leases import list_overlay_leases, list_overlay_stores
    from shibafu.overlay.rejoining import find_leases
    from shibafu.runtime.conflist import ConflistError

    broken: list[ConflistError] = []
    networks = load_networks(context.conf_dir, [], broken)
    context.out.warn([error.msg for error in broken])
    subnets = [state[key] for key in ("subnet", "subnet6") if state[key]]
    stores = list_overlay_stores(networks, subnet_file)
    # Before containers are looked for: those that come later are newcomers to the agent.
    known = find_leases(stores, map(ip_network, subnets))
    leases = list_overlay_leases(networks, subnet_file, list(map(parse_cidr, subnets)))
    containers = sorted({lease.container_id for lease in leases})
    if containers:
        named = ", ".join(containers[:3]) + (", ..." if len(containers) > 3 else "")
        raise CommandError(
            f"{format_count(len(containers), 'container')} of this host would be left behind in"
            f" {state['subnet']}: {named}",
            "disconnect them first (shibafu network disconnect), and connect them again afterwards; with"
            " --force they keep addresses by which packets reach the other host",
        )
    return stores, known


def _print(context: Context, before: dict[str, Any], after: dict[str, Any], is_done: bool) -> None:
    out = context.out
    is_changed = after["subnet"] != before["subnet"]
    subnets = " and ".join(filter(None, (after["subnet"], after["subnet6"])))
    if not is_done:
        out.text("the agent is not running: it will join again when it starts")
    elif is_changed:
        out.text(f"this host has {subnets} instead of {before['subnet']}")
        out.text('delete the bridge that has the gateway of that subnet, or set "forceAddress"')
    else:
        out.text(f"this host has {subnets}, as before")
    out.data(
        {
            "network": after["network"],
            "done": is_done,
            "changed": is_changed,
            "subnet": after["subnet"],
            "subnet6": after["subnet6"],
        }
    )


SUBCOMMAND = Subcommand(
    "rejoin",
    "have this host get its subnet again, or another one",
    "Ask the agent to try again to get the subnet that another host has taken. As long as that host has it,\n"
    "this one gets another subnet with --new-subnet only, because its containers have addresses of the lost\n"
    "one. Where the agent is not running, it does so when it starts, but does not get another subnet.",
    (
        "shibafu overlay rejoin blue",
        "shibafu overlay rejoin blue --new-subnet   # once its containers are disconnected",
    ),
    _run,
    _add_arguments,
)
