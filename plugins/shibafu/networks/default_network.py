"""The network `bridge`, which everybody has who names no other."""

from shibafu.container.specification import HOST_NETWORK, NO_NETWORK
from shibafu.networks.configured import load_networks, unknown_network
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import open_kernel
from shibafu.networks.lifecycle import create_network, lock_configuration
from shibafu.networks.resolve import Surroundings, Wish
from shibafu.networks.spec import DEFAULT_NETWORK
from shibafu.runtime.conflist import ConflistError

DEFAULT_BRIDGE = "shibafu0"


def ensure_networks(conf_dir: str, names: list[str]) -> list[str]:
    """See that networks exist, and make the default one if it is among them and does not; return warnings.

    Raises:
        CommandError: there is no network of a name, or the default one collides with something.
    """
    if set(names) <= {NO_NETWORK, HOST_NETWORK}:
        return []
    broken: list[ConflistError] = []
    known = {network.name for network in load_networks(conf_dir, [], broken)}
    warnings: list[str] = []
    for name in names:
        if name == DEFAULT_NETWORK and name not in known:
            warnings += _create_default_network(conf_dir)
        elif name not in known:
            raise unknown_network(name, conf_dir, sorted(known), broken)
    return warnings


def _create_default_network(conf_dir: str) -> list[str]:
    wish = Wish(DEFAULT_NETWORK, bridge=DEFAULT_BRIDGE)
    with lock_configuration(), open_kernel() as kernel:
        networks = load_networks(conf_dir, [], [])
        # Another call may have been first.
        if DEFAULT_NETWORK in {network.name for network in networks}:
            return []
        surroundings = Surroundings(kernel, networks)
        try:
            create_network(conf_dir, surroundings.resolve(wish))
        except CommandError as error:
            raise CommandError(
                f"cannot make the network {DEFAULT_NETWORK}: {error.message}",
                f"make it yourself: shibafu network create {DEFAULT_NETWORK} --subnet CIDR --bridge NAME",
            ) from None
    return surroundings.warnings
