"""`shibafu network connect`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.policy_options import add_policy_options, calc_policy_args
from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "container", metavar="CONTAINER|NETNS", help="a container's ID, or a namespace's name or path"
    )
    parser.add_argument("--ip", default="", help="the address to request")
    parser.add_argument("--mac", default="", help="the hardware address to request")
    parser.add_argument(
        "--ifname", default="", help="the interface's name; by default the first eth<n> that is free"
    )
    add_policy_options(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller, find_target
    from shibafu.networks.configured import load_network
    from shibafu.networks.kernel import open_kernel

    network = load_network(context.conf_dir, arguments.network)
    target = find_target(arguments.container, context.cache_dir)
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        stated = (arguments.ifname, arguments.ip, arguments.mac, calc_policy_args(arguments))
        ifname, result = caller.attach(network, target, *stated)
    context.out.data(
        {
            "network": network.name,
            "containerID": target.container_id,
            "ifname": ifname,
            "netns": target.netns,
            "result": result,
        }
    )
    addresses = " and ".join(ip["address"] for ip in result.get("ips", [])) or "no address"
    context.out.text(f"{target.container_id}: {ifname} on network {network.name}, {addresses}")
    return 0


SUBCOMMAND = Subcommand(
    "connect",
    "attach a container to a network",
    "Attach a container, or any network namespace, to a network by calling its plugins with ADD. That lasts\n"
    "until the container ends: its next start is without it, unless it is started with the network\n"
    "(shibafu run --network). A namespace given by its path gets the ID that cnitool would give it.",
    (
        "ip netns add web; shibafu network connect blue web",
        "shibafu network connect blue web --ip 172.21.0.100 --ifname eth1",
        "shibafu network connect blue web --label app=web --named-port http=80",
        "shibafu network connect blue /proc/4711/ns/net",
        "ip netns exec web ip addr             # what it got",
    ),
    _run,
    _add_arguments,
)
