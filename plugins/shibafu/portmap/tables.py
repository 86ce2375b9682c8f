"""Published ports with nftables: maps, in which one look finds where a packet goes, however many there are.

    address4        address . protocol . port : container's address . port
    address_range4  address . protocol . ports : container's address, with the ports as they are
    any4, range4    likewise at all of the host's addresses
    masqueraded4    sources . container's address

An element of a map goes only if it is the attachment's own: in one transaction it is added, which fails where
another value has its place, and deleted. This also keeps two containers from having the same port.
"""

from shibafu.cni.names import calc_digest
from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.portmap.mapping import Mapping
    from shibafu.portmap.publication import Publication

TABLE = "inet shibafu-ports"
_COMMENT = "shibafu published ports"
_FAMILY = {4: "ip", 6: "ip6"}
# Kinds of maps, in the order in which packets are looked up, and what is looked up.
_MAPS = (
    ("address", "{type} . inet_proto . inet_service", "{type} . inet_service", "{ip} daddr . "),
    ("address_range", "{type} . inet_proto . inet_service", "{type}", "{ip} daddr . "),
    ("any", "inet_proto . inet_service", "{type} . inet_service", ""),
    ("range", "inet_proto . inet_service", "{type}", ""),
)
_HOOKS = ("prerouting", "output")


def calc_table(publication: "Publication") -> str:
    """Return the table that a publication is in: those with conditions of their own have others."""
    words = [" ".join(publication.conditions.get(version, [])) for version in (4, 6)]
    return f"{TABLE}-{calc_digest(*words, size=8)}" if any(words) else TABLE


def is_ports_table(table: str) -> bool:
    """Return whether a table, its family first, is one of published ports."""
    return table == TABLE or table.startswith(f"{TABLE}-")


def calc_ruleset(
    publications: "Iterable[Publication]", table: str, conditions: dict[int, list[str]]
) -> Ruleset:
    """Return a table, and in it the elements of some publications.

    Args:
        publications: whose elements.
        table: the table, its family first.
        conditions: by family, what each rule asks besides, in nft's words.
    """
    rules = ["fib daddr type != local return"]
    sets = []
    masquerading = []
    elements = _calc_elements(publications)
    for version, ip in _FAMILY.items():
        words = " ".join(conditions.get(version, []))
        for kind, key, value, place in _MAPS:
            name = f"{kind}{version}"
            types = {"type": f"ipv{version}_addr", "ip": ip}
            flags = "; flags interval" if kind.endswith("range") else ""
            typed = f"{key} : {value}{flags}".format(**types)
            sets.append(ElementSet(name, typed, elements.get(name, []), is_map=True))
            family = "" if place or ip in words.split() else f"meta nfproto ipv{version} "
            looked_up = f"{place}meta l4proto . th dport".format(**types)
            rule = f"{words} " if words else ""
            rules.append(f"{rule}{family}dnat {ip} to {looked_up} map @{name}")
        name = f"masqueraded{version}"
        pairs = f"ipv{version}_addr . ipv{version}_addr; flags interval"
        sets.append(ElementSet(name, pairs, elements.get(name, [])))
        masquerading.append(f"ct status dnat {ip} saddr . {ip} daddr @{name} masquerade")
    chains = [Chain(table, hook, f"type nat hook {hook} priority -100", rules) for hook in _HOOKS]
    chains.append(Chain(table, "postrouting", "type nat hook postrouting priority 100", masquerading))
    return Ruleset(table, chains, sets, _COMMENT)


def _calc_elements(publications: "Iterable[Publication]") -> dict[str, list[str]]:
    elements: dict[str, list[str]] = {}
    for publication in publications:
        comment = f'comment "{publication.comment}"'
        for version, target in publication.targets.items():
            address = str(target.address)
            for mapping in publication.of_version(version):
                for kind, key, value in _list_pairs(mapping, address):
                    elements.setdefault(f"{kind}{version}", []).append(f"{key} {comment} : {value}")
            elements.setdefault(f"masqueraded{version}", []).extend(
                f"{source} . {address}" for source in publication.sources(version)
            )
    return elements


def _list_pairs(mapping: "Mapping", address: str) -> "Iterable[tuple[str, str, str]]":
    """Yield kinds of maps, keys and values: one for a run of ports that keep their numbers."""
    place = mapping.address()
    kind, start = ("address", f"{place} . ") if place else ("any", "")
    if mapping.is_straight and mapping.count > 1:
        kind = "address_range" if place else "range"
        yield kind, f"{start}{mapping.protocol} . {mapping.first}-{mapping.last}", address
        return
    for i in range(mapping.count):
        key = f"{start}{mapping.protocol} . {mapping.first + i}"
        yield kind, key, f"{address} . {mapping.target + i}"
