"""The network `bridge`, which everybody has who names no other."""

from shibafu.command.errors import CommandError
from shibafu.command.kernel import open_kernel
from shibafu.command.lifecycle import create_network, lock_configuration
from shibafu.command.networks import load_networks, unknown_network
from shibafu.command.specification import DEFAULT_NETWORK
from shibafu.command.subcommand import Context
from shibafu.command.surroundings import Surroundings, Wish
from shibafu.container.specification import HOST_NETWORK, NO_NETWORK
from shibafu.runtime.conflist import ConflistError

DEFAULT_BRIDGE = "shibafu0"


def ensure_networks(context: Context, names: list[str]) -> None:
    """See that networks exist, and make the default one if it is among them and does not.

    Raises:
        CommandError: there is no network of a name, or the default one collides with something.
    """
    if set(names) <= {NO_NETWORK, HOST_NETWORK}:
        return
    broken: list[ConflistError] = []
    known = {network.name for network in load_networks(context.conf_dir, [], broken)}
    for name in names:
        if name == DEFAULT_NETWORK and name not in known:
            _create_default_network(context)
        elif name not in known:
            raise unknown_network(name, context.conf_dir, sorted(known), broken)


def _create_default_network(context: Context) -> None:
    wish = Wish(DEFAULT_NETWORK, bridge=DEFAULT_BRIDGE)
    with lock_configuration(), open_kernel() as kernel:
        networks = load_networks(context.conf_dir, [], [])
        # Another call may have been first.
        if DEFAULT_NETWORK in {network.name for network in networks}:
            return
        surroundings = Surroundings(kernel, networks)
        try:
            create_network(context.conf_dir, surroundings.resolve(wish))
        except CommandError as error:
            raise CommandError(
                f"cannot make the network {DEFAULT_NETWORK}: {error.message}",
                f"make it yourself: shibafu network create {DEFAULT_NETWORK} --subnet CIDR --bridge NAME",
            ) from None
    context.out.warn(surroundings.warnings)
