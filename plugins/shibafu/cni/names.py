"""Names that become paths, links and chains: what is valid, and how they are computed.

Everything that an attachment or a network owns has a name computed from what identifies it, so
that DEL and GC find it without the container's namespace, without prevResult and without a record.
"""

import sys

try:
    from _blake2 import blake2b
except ImportError:  # an interpreter that keeps it elsewhere; hashlib costs 3 ms
    from hashlib import blake2b

# What `ipMasqBackend` may be.
IPTABLES = "iptables"
NFTABLES = "nftables"
# How far a network is kept from others.
OPEN, ISOLATED, STRICT = "", "isolated", "strict"
# The group (IFLA_GROUP) of the links that such networks enter and leave the host by. Rules of isolation name
# these numbers, which have no meaning but that nobody else is likely to have chosen them, and that one mask
# covers all three.
NETWORK_GROUPS = {STRICT: 0x5B19, OPEN: 0x5B1A, ISOLATED: 0x5B1B}
ISOLATED_GROUP = NETWORK_GROUPS[ISOLATED]
# Likewise the group of the ports of internal networks.
INTERNAL_GROUP = 0x5B1C
# Likewise the group of bonds of uplinks, by which they are told from those of others.
BOND_GROUP = 0x5B1D

# The capability by which containerd and CRI-O pass on a pod's annotations, and what those begin with that are
# labels for network policies.
POD_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
LABEL_ANNOTATION = "org.shibafu.labels."

# The longest name of a file (NAME_MAX in linux/limits.h); so long may a network's name be, too.
MAX_FILE_NAME = 255
# Of a rule: NFTNL_UDATA_COMMENT_MAXLEN in libnftnl; iptables has room for twice as much.
_MAX_COMMENT = 128

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_HEX_DIGITS = frozenset("0123456789abcdef")
_IFB_PREFIX = "bwp"


def is_valid_identifier(name: str) -> bool:
    r"""Return whether `name` may be a container ID or a network name.

    The grammar is the specification's, ``^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$``; such a name is safe as
    a file name, in an iptables comment and as an argument.
    """
    return bool(name) and name[0] in _FIRST and _REST.issuperset(name)


def calc_file_name(kind: str, name: str) -> str:
    """Return the name of a file that stands for something of some kind that has a name."""
    file_name = f"{kind}-{name}"
    return file_name if len(file_name) <= MAX_FILE_NAME else f"{kind}-{calc_digest(name, size=16)}"


def calc_digest(*parts: str, size: int) -> str:
    """Return `2 * size` hexadecimal digits that stand for `parts`."""
    # Bytes that are not UTF-8 are in no name of ours, but GC may be asked for one with them.
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def calc_host_veth(network: str, container_id: str, ifname: str) -> str:
    """Return the name of an attachment's link on the host: `veth` and 11 digits, 15 characters (IFNAMSIZ)."""
    return "veth" + calc_digest(network, container_id, ifname, size=6)[:11]


def is_host_veth(name: str) -> bool:
    """Return whether a host link has a name like an attachment's; other programs' names are shorter."""
    return name.startswith("veth") and len(name) == 15 and _HEX_DIGITS.issuperset(name[4:])


def calc_bond(bridge: str) -> str:
    """Return the name of the bond of a bridge's uplinks: `bond-` and the bridge's, or 10 digits for it."""
    name = f"bond-{bridge}"
    return name if len(name) <= 15 else f"bond-{calc_digest(bridge, size=5)}"


def calc_ifb(network: str, container_id: str, ifname: str) -> str:
    """Return the name of the link that delays what an attachment's container sends: `bwp` and 12 digits."""
    return _IFB_PREFIX + calc_digest(network, container_id, ifname, size=6)


def calc_reference_ifb(network: str, container_id: str) -> str:
    """Return the name of the reference's link for that: all interfaces of a container have the same."""
    return _IFB_PREFIX + calc_reference_hash(network + container_id)[:12]


def is_ifb(name: str) -> bool:
    """Return whether a link has a name like one of those, ours or the reference's."""
    return name.startswith(_IFB_PREFIX) and len(name) == 15 and _HEX_DIGITS.issuperset(name[3:])


def calc_chain(network: str) -> str:
    """Return the name of a network's iptables chain; at most 28 characters are allowed (xtables.h)."""
    return "SHIBAFU-" + calc_digest(network, size=8)


def calc_strict_chain(network: str) -> str:
    """Return the name of a strictly isolated network's other chain.

    Both are jumped to from a chain FORWARD; their names tell in which table.
    """
    return f"{calc_chain(network)}-S"


def calc_prerouting_chain(network: str) -> str:
    """Return the name of a network's chain for what comes in from its bridge."""
    return f"{calc_chain(network)}-P"


def calc_input_chain(network: str) -> str:
    """Return the name of a network's chain for what the host itself gets from its bridge."""
    return f"{calc_chain(network)}-I"


def is_strict_chain(name: str) -> bool:
    """Return whether a chain has a name like those of strictly isolated networks."""
    return name.startswith("SHIBAFU-") and name.endswith("-S")


def calc_isolate(isolation: str) -> bool | str:
    """Return what the key `isolate` says of how far a network is kept from others."""
    return STRICT if isolation == STRICT else bool(isolation)


def calc_comment(network: str) -> str:
    """Return the comment that tells people what a rule belongs to, within the length of a comment."""
    comment = f"shibafu network {network}"
    if len(comment) <= _MAX_COMMENT:
        return comment
    # Of no other network: rules are known by it.
    return f"{comment[: _MAX_COMMENT - 17]} {calc_digest(network, size=8)}"


def calc_reference_hash(text: str) -> str:
    """Return the digits that the reference's names begin with."""
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha512
        else:
            from _sha512 import sha512  # type: ignore[import-not-found]  # typeshed does not know it
    except ImportError:  # an interpreter that keeps it elsewhere
        from hashlib import sha512

    digest: str = sha512(text.encode()).hexdigest()
    return digest
