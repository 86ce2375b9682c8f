"""`shibafu overlay init`."""

import os
from argparse import ArgumentParser, Namespace

from shibafu.cli.overlay.agent_options import START, add_config, load_overlays
from shibafu.cli.overlay.network_options import add_network_options, calc_network
from shibafu.cli.subcommand import Context, Subcommand, convert
from shibafu.networks.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.overlay.cluster_network import ClusterNetwork
    from shibafu.overlay.config import OverlaySettings

_FILE_OPTIONS = ("cafile", "certfile", "keyfile", "password_file")
# None of them does anything without the other.
_PAIRS = (("certfile", "keyfile"), ("username", "password_file"))


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", type=convert(_parse_name), help="its name on this host")
    add_network_options(parser)
    parser.add_argument(
        "--endpoints", metavar="URL,...", type=convert(_parse_endpoints), help="where etcd is"
    )
    parser.add_argument(
        "--prefix",
        metavar="PATH",
        type=convert(_parse_prefix),
        help="what its keys in etcd begin with (/coreos.com/network)",
    )
    parser.add_argument(
        "--iface", metavar="LINK", type=convert(_parse_link), help="the link to the other hosts"
    )
    for option in _FILE_OPTIONS:
        what = {"cafile": "of etcd's authority", "certfile": "this host's certificate", "keyfile": "its key"}
        parser.add_argument(
            _name_option(option),
            metavar="FILE",
            type=convert(_parse_file),
            help=what.get(option, "a file with the password"),
        )
    parser.add_argument("--username", metavar="NAME", default="", help="the user of etcd")
    parser.add_argument("--force", action="store_true", help="replace a network that hosts have joined")
    add_config(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cni.directories import make_directory
    from shibafu.lean.files import replace_file
    from shibafu.overlay.administration import describe_network, format_entry, require_apart
    from shibafu.overlay.etcd import EtcdClient

    settings, is_known = _find_settings(arguments)
    network = calc_network(arguments)
    client = EtcdClient(settings.etcd)
    require_apart(client, network, settings)
    _require_apart_from_others(network, arguments)
    is_written = describe_network(client, settings.prefix, network, arguments.force)
    where = f"{settings.prefix} in etcd at {client.endpoint}"
    context.out.text(f"{'wrote' if is_written else 'unchanged:'} {where}")
    if is_written and arguments.force:
        context.out.text("restart the agent on every host: systemctl restart shibafu-overlay")
    entry = "" if is_known else format_entry(settings)
    is_created = bool(entry) and not os.path.lexists(arguments.config)
    if is_created:
        make_directory(os.path.dirname(arguments.config) or ".", 0o755)
        replace_file(arguments.config, f"networks:\n{entry}".encode(), 0o644)
        context.out.text(f"wrote {arguments.config}")
        context.out.text(START)
    elif entry:
        context.out.text(f"add to {arguments.config}, below networks:\n\n{entry}")
    context.out.data({"network": settings.name, "written": is_written, "configured": is_known or is_created})
    return 0


def _find_settings(arguments: Namespace) -> "tuple[OverlaySettings, bool]":
    """Return where the network is, and whether the agent's configuration has it."""
    from shibafu.overlay.config import parse_overlay_config

    if os.path.lexists(arguments.config):
        for settings in load_overlays(arguments.config):
            if settings.name == arguments.network:
                _require_same(arguments, settings)
                return settings, True
    if not arguments.endpoints:
        raise UsageError(
            f"{arguments.config} has no network {arguments.network}",
            "say where etcd is: --endpoints http://192.0.2.1:2379",
        )
    for pair in _PAIRS:
        for stated, missing in (pair, pair[::-1]):
            if getattr(arguments, stated) and not getattr(arguments, missing):
                raise UsageError(f"{_name_option(stated)} also needs {_name_option(missing)}")
    return parse_overlay_config(_format_arguments(arguments), "the command line")[0], False


def _require_same(arguments: Namespace, settings: "OverlaySettings") -> None:
    """Refuse options that the agent's configuration contradicts, as they would have no effect."""
    etcd = settings.etcd
    configured = {
        "endpoints": sorted(etcd.endpoints),
        "prefix": [settings.prefix],
        "iface": [settings.iface],
        "username": [etcd.username],
        "cafile": [etcd.cafile],
        "certfile": [etcd.certfile],
        "keyfile": [etcd.keyfile],
        "password_file": [etcd.password_file],
    }
    for key, values in configured.items():
        stated = getattr(arguments, key)
        if stated and values != (sorted(stated) if key == "endpoints" else [stated]):
            option = _name_option(key)
            known = ", ".join(filter(None, values)) or "nothing"
            raise UsageError(
                f"{arguments.config} has {known} for {option} of network {settings.name}",
                f"leave out {option}, or change the file first",
            )


def _require_apart_from_others(network: "ClusterNetwork", arguments: Namespace) -> None:
    """Refuse what another network of the agent's configuration has, as far as etcd tells."""
    from shibafu.overlay.administration import read_network
    from shibafu.overlay.collisions import require_apart_from_network
    from shibafu.overlay.errors import OverlayError
    from shibafu.overlay.etcd import EtcdClient

    if not os.path.lexists(arguments.config):
        return
    for settings in load_overlays(arguments.config):
        if settings.name == arguments.network:
            continue
        try:
            other = read_network(EtcdClient(settings.etcd), settings.prefix)
        except (OverlayError, OSError):
            continue  # the agent refuses it later
        if other is not None:
            require_apart_from_network(network, settings.name, other)


def _format_arguments(arguments: Namespace) -> str:
    """Return the options as the agent's configuration has them, to be checked like that."""
    import json

    keys = {
        "name": arguments.network,
        "endpoints": arguments.endpoints,
        "prefix": arguments.prefix,
        "iface": arguments.iface,
        "cafile": arguments.cafile,
        "certfile": arguments.certfile,
        "keyfile": arguments.keyfile,
        "username": arguments.username,
        "passwordFile": arguments.password_file,
    }
    return json.dumps({"networks": [{key: value for key, value in keys.items() if value}]})


def _name_option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _parse_name(text: str) -> str:
    from shibafu.overlay.config import require_overlay_name

    return require_overlay_name(text)


def _parse_endpoints(text: str) -> list[str]:
    from shibafu.overlay.config import require_endpoint

    return [require_endpoint(endpoint) for endpoint in text.split(",")]


def _parse_prefix(text: str) -> str:
    from shibafu.overlay.config import require_prefix

    return require_prefix(text)


def _parse_link(text: str) -> str:
    from shibafu.documents.link_names import require_iface_name

    return require_iface_name(text)


def _parse_file(text: str) -> str:
    from shibafu.overlay.config import require_file_path

    return require_file_path(text)


SUBCOMMAND = Subcommand(
    "init",
    "describe a network in etcd, for all hosts",
    "Write the description of a network to etcd, in flannel's form; another one is not replaced. Where this\n"
    "host has no configuration of its agent yet, that is written, too. On further hosts, the same command\n"
    "only does the latter.",
    (
        "shibafu overlay init blue --network 10.42.0.0/16 --endpoints http://192.0.2.1:2379",
        "shibafu overlay init blue --network 10.42.0.0/16 --network6 fd42::/48 --endpoints http://etcd:2379",
        "shibafu overlay init blue --network 10.42.0.0/16   # etcd is where the agent's configuration says",
    ),
    _run,
    _add_arguments,
)
