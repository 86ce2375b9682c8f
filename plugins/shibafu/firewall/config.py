"""The keys of a configuration."""

from shibafu.cni.config import Section, fold_keys
from shibafu.cni.errors import INVALID_CONFIG, CniError

# What `ingressPolicy` may be.
OPEN_TO_ALL, SAME_BRIDGE, ISOLATED_CONTAINERS = "open", "same-bridge", "isolated"
DEFAULT_ADMIN_CHAIN = "CNI-ADMIN"
_DEFAULT_ZONE = "trusted"
# What `backend` may be; anything else is as good as nothing, as in the reference.
FIREWALLD, IPTABLES_ONLY = "firewalld", "iptables"
# The longest name of a chain (XT_EXTENSION_MAXNAMELEN in linux/netfilter/x_tables.h, without the NUL).
_LONGEST_CHAIN = 28
_CHAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class FirewallConfig:
    """What a configuration asks for.

    Args:
        values: the network configuration.

    Attributes:
        admin_chain: the chain whose rules come before those of all networks.
        backend: what lets containers through, as far as it is stated.
        policy: who may open connections to the containers: one of the constants above.
        stated_policies: the digest of the network policies that it states; see `policy.stated_policies`.
        zone: the zone that containers are in where firewalld lets them through.

    Raises:
        CniError: INVALID_CONFIG.
    """

    __slots__ = ("admin_chain", "backend", "policy", "stated_policies", "zone")

    def __init__(self, values: dict[str, object]) -> None:
        config = Section(values, "FirewallNetConf")
        self.admin_chain = DEFAULT_ADMIN_CHAIN
        self.backend = ""
        self.policy = OPEN_TO_ALL
        self.stated_policies = ""
        self.zone = _DEFAULT_ZONE
        for attribute, value in config.read(_KEYS):
            if value:
                setattr(self, attribute, value)

    @property
    def is_isolated(self) -> bool:
        """Whether some connections are refused."""
        return self.policy != OPEN_TO_ALL


def find_stated_zone(values: dict[str, object]) -> str:
    """Return the zone, whatever else is wrong with a configuration."""
    zone = Section(values, "FirewallNetConf").get("firewalldZone")
    return zone if isinstance(zone, str) and zone else _DEFAULT_ZONE


def is_chain_name(name: str) -> bool:
    """Return whether iptables-restore(8) takes it for one name, and none of an option."""
    return 0 < len(name) <= _LONGEST_CHAIN and _CHAIN.issuperset(name) and name[0] != "-"


def _read_policy(config: Section, key: str) -> str:
    policy = config.text(key)
    if policy not in ("", OPEN_TO_ALL, SAME_BRIDGE, ISOLATED_CONTAINERS):
        raise CniError(
            INVALID_CONFIG,
            f'unknown ingress policy: "{policy}"',
            f'"{key}" must be "{OPEN_TO_ALL}", "{SAME_BRIDGE}" or "{ISOLATED_CONTAINERS}"',
        )
    return policy


def _read_chain(config: Section, key: str) -> str:
    name = config.text(key)
    if name and not is_chain_name(name):
        raise CniError(
            INVALID_CONFIG,
            f'"{key}" is not the name of a chain: "{name}"',
            f"use up to {_LONGEST_CHAIN} letters, digits and any of _.-",
        )
    return name


def _read_stated_policies(config: Section, _key: str) -> str:
    """Return the digest of the network policies that both keys state."""
    from shibafu.policy.stated_policies import calc_stated_policies

    return calc_stated_policies(config)


_KEYS = fold_keys(
    ("admin_chain", "iptablesAdminChainName", _read_chain),
    ("backend", "backend", Section.text),
    ("policy", "ingressPolicy", _read_policy),
    ("stated_policies", "policies", _read_stated_policies),
    ("stated_policies", "policyDir", _read_stated_policies),
    ("zone", "firewalldZone", Section.text),
)
