"""`shibafu network create`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from ipaddress import ip_address

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cni.names import STRICT
from shibafu.networks.errors import UsageError


def _parse_network(text: str) -> object:
    from shibafu.networks.subnets import parse_subnet

    try:
        return parse_subnet(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _parse_address(text: str) -> object:
    try:
        return ip_address(text)
    except ValueError:
        raise ArgumentTypeError(f'"{text}" is not an address: write one such as 10.1.0.1') from None


def _parse_option(text: str) -> tuple[str, object]:
    from shibafu.networks.spec import parse_option

    key, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text} is not KEY=VALUE")
    try:
        return key, parse_option(key, value)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the network's name")
    parser.add_argument(
        "--subnet",
        metavar="CIDR",
        action="append",
        default=[],
        type=_parse_network,
        help="a subnet for the containers' addresses; may be repeated; by default a free one",
    )
    parser.add_argument(
        "--gateway",
        metavar="IP",
        action="append",
        default=[],
        type=_parse_address,
        help="the host's address in a subnet; by default the first one",
    )
    parser.add_argument(
        "--ip-range",
        metavar="RANGE",
        action="append",
        default=[],
        help="give out only these addresses of a subnet, such as 10.1.0.128/25 or 10.1.0.100-10.1.0.199",
    )
    parser.add_argument("--bridge", metavar="NAME", default="", help="the bridge; by default br-NAME")
    parser.add_argument("--mtu", type=int, default=0, help="the MTU in bytes")
    parser.add_argument("--ipv6", action="store_true", help="also choose an IPv6 subnet")
    parser.add_argument("--internal", action="store_true", help="no connection to the outside or to the host")
    parser.add_argument(
        "--no-masq",
        action="store_true",
        help="do not masquerade the containers' addresses",
    )
    parser.add_argument(
        "--isolate", action="store_true", help="networks with --isolate cannot reach each other"
    )
    # Not a value of the same option: what follows that would be taken for it.
    parser.add_argument(
        f"--isolate={STRICT}",
        dest="isolate",
        action="store_const",
        const=STRICT,
        help="no other network can reach this one, or be reached from it",
    )
    parser.add_argument(
        "--uplink",
        metavar="LINK",
        action="append",
        default=[],
        help="a link of the host that leads out of the bridge; repeated: the others take over if it dies",
    )
    parser.add_argument(
        "--uplink-mode",
        metavar="MODE",
        choices=("active-backup", "bond", "stp"),
        default="",
        help="what makes another uplink take over: active-backup for the watcher, bond or stp for the kernel",
    )
    parser.add_argument(
        "--gateway-ha",
        metavar="PROTOCOL",
        choices=("vrrp",),
        default="",
        help="share the gateway with other hosts of the network, by vrrp; needs keepalived",
    )
    parser.add_argument(
        "--gateway-host-ip",
        metavar="CIDR",
        action="append",
        default=[],
        help="with --gateway-ha: the host's own address in a subnet, such as 10.7.0.2/24; may be repeated",
    )
    parser.add_argument(
        "--driver-opt",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_parse_option,
        help="set a key of shibafu-bridge, such as portIsolation=true",
    )


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.lifecycle import create_network, describe, lock_configuration
    from shibafu.networks.resolve import PartialSpec, Resolver
    from shibafu.networks.subnets import combine_subnets
    from shibafu.runtime.conflist import ConflistError

    broken: list[ConflistError] = []
    if arguments.internal and arguments.gateway:
        raise UsageError("an internal network has no gateway", "omit --gateway or --internal")
    stated = (
        ("gatewayHA", arguments.gateway_ha),
        ("gatewayHostIP", arguments.gateway_host_ip),
        ("uplinkMode", arguments.uplink_mode),
        ("uplinks", arguments.uplink),
    )
    shared = ((key, value) for key, value in stated if value)
    partial = PartialSpec(
        arguments.name,
        combine_subnets(arguments.subnet, arguments.gateway, arguments.ip_range),
        arguments.bridge,
        arguments.mtu,
        arguments.ipv6,
        arguments.internal,
        not arguments.no_masq,
        arguments.isolate,
        (*arguments.driver_opt, *shared),
    )
    with lock_configuration(), open_kernel() as kernel:
        networks = load_networks(context.conf_dir, [], broken)
        if arguments.name in {network.name for network in networks}:
            raise UsageError(
                f"there is already a network {arguments.name}",
                f"see `shibafu network inspect {arguments.name}`; to change it, use `shibafu network apply`",
            )
        resolver = Resolver(kernel, networks)
        spec = resolver.resolve(partial)
        path = create_network(context.conf_dir, spec)
    context.out.warn(resolver.warnings + [error.msg for error in broken])
    context.out.data(describe(spec) | {"path": path})
    subnets = " and ".join(str(subnet.network) for subnet in spec.subnets)
    context.out.text(f"{spec.name}: {subnets} on bridge {spec.bridge}, in {path}")
    return 0


SUBCOMMAND = Subcommand(
    "create",
    "create a network",
    "Create a network: write its configuration, which every CNI runtime reads. The bridge is created with\n"
    "the first container. Without --subnet a free subnet is chosen; a subnet in use by a link, a route or\n"
    "another network is refused.",
    (
        "shibafu network create blue",
        "shibafu network create blue --subnet 172.21.0.0/24 --ipv6",
        "shibafu network create lab --subnet 10.9.0.0/16 --gateway 10.9.255.254 --ip-range 10.9.1.0/24",
        "shibafu network create cells --driver-opt portIsolation=true    # keeps its containers apart",
        "shibafu network create db --internal                            # cannot reach the outside",
        "shibafu network create shop --isolate                           # apart from other isolated ones",
        "shibafu network create vault --isolate=strict                   # apart from all other networks",
        "shibafu network create office --subnet 10.8.0.0/24 --gateway 10.8.0.2 --ip-range 10.8.0.16/28"
        " --uplink eth1 --uplink eth2",
        "shibafu network create lan --subnet 10.7.0.0/24 --ip-range 10.7.0.10-10.7.0.99 "
        "--gateway-ha vrrp --gateway-host-ip 10.7.0.2/24",
    ),
    _run,
    _add_arguments,
)
