"""Published ports with iptables: for each network one chain that translates, and one that masquerades.

    nat PREROUTING, OUTPUT   -m addrtype --dst-type LOCAL                 -j SHIBAFU-...-D
    nat POSTROUTING          -m conntrack --ctstate DNAT                  -j SHIBAFU-...-M
    nat SHIBAFU-...-D        -p tcp -m tcp --dport 8080                   -j DNAT --to-destination 10.1.0.2:80
    nat SHIBAFU-...-M        -s 10.1.0.0/24 -d 10.1.0.2/32                -j MASQUERADE

No packet is marked: a mark would outlive the encapsulation of an overlay, and have the outer packet
masqueraded as well.
"""

from shibafu.cni.names import calc_chain, calc_comment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.portmap.mapping import Mapping
    from shibafu.portmap.publication import Publication

# The most ports that a rule can name (XT_MULTI_PORTS); a run of ports counts twice.
_MOST_PORTS = 15
_BITS = {4: 32, 6: 128}


def calc_dnat_chain(network: str) -> str:
    """Return the name of a network's chain that translates."""
    return f"{calc_chain(network)}-D"


def is_dnat_chain(name: str) -> bool:
    """Return whether a chain has the name of a network's chain that translates."""
    return name.startswith("SHIBAFU-") and name.endswith("-D")


def calc_masquerade_chain(network: str) -> str:
    """Return the name of a network's chain that masquerades."""
    return f"{calc_chain(network)}-M"


def list_jumps(network: str) -> list[tuple[str, str]]:
    """Return the kernel's chains, and the rules in them that lead to a network's."""
    comment = f'-m comment --comment "{calc_comment(network)}"'
    local = f"-m addrtype --dst-type LOCAL {comment} -j {calc_dnat_chain(network)}"
    translated = f"-m conntrack --ctstate DNAT {comment} -j {calc_masquerade_chain(network)}"
    return [("PREROUTING", local), ("OUTPUT", local), ("POSTROUTING", translated)]


def list_port_rules(publication: "Publication", version: int) -> list[tuple[str, str]]:
    """Return chains, and the rules in them, of a publication and one family; `version` is 4 or 6."""
    mappings = publication.of_version(version)
    if not mappings:
        return []
    chain = calc_dnat_chain(publication.network)
    comment = f'-m comment --comment "{publication.comment}"'
    words = " ".join(publication.conditions.get(version, []))
    target = str(publication.targets[version].address)
    sources = publication.sources(version)
    rules = []
    for match, destination in _list_matches(mappings, version, target):
        condition = f"{match} {words}".rstrip()
        if publication.mark_chain:
            rules += [
                (chain, f"-s {source} {condition} {comment} -j {publication.mark_chain}")
                for source in sources
            ]
        rules.append((chain, f"{condition} {comment} -j DNAT --to-destination {destination}"))
    if not publication.mark_chain:
        chain = calc_masquerade_chain(publication.network)
        rules += [
            (chain, f"-s {source} -d {target}/{_BITS[version]} {comment} -j MASQUERADE") for source in sources
        ]
    return rules


def _list_matches(mappings: "Iterable[Mapping]", version: int, target: str) -> list[tuple[str, str]]:
    """Return conditions and destinations; ports that keep their numbers, or lead to one port, share rules."""
    found = []
    groups: dict[tuple[str, str, str], list[Mapping]] = {}
    place = f"[{target}]" if version == 6 else target
    for one in mappings:
        if one.is_straight or one.count == 1:
            destination = target if one.is_straight else f"{place}:{one.target}"
            groups.setdefault((one.protocol, one.address(), destination), []).append(one)
            continue
        condition = f"-p {one.protocol} -m {one.protocol} --dport {one.first}:{one.last}"
        # From the base on, the first of the host's ports, they are counted likewise.
        to = f"{place}:{one.target}-{one.target + one.count - 1}/{one.first}"
        found.append((_add_address(condition, one.address(), version), to))
    for (protocol, address, destination), group in groups.items():
        for ports in _group_ports(group):
            many = f"-m multiport --dports {ports}"
            one_match = f"-m {protocol} --dport {ports}"
            condition = f"-p {protocol} {many if ',' in ports else one_match}"
            found.append((_add_address(condition, address, version), destination))
    return found


def _add_address(condition: str, address: str, version: int) -> str:
    return f"-d {address}/{_BITS[version]} {condition}" if address else condition


def _group_ports(mappings: "Iterable[Mapping]") -> list[str]:
    groups: list[list[str]] = [[]]
    size = 0
    for one in mappings:
        cost = 2 if one.count > 1 else 1
        if size + cost > _MOST_PORTS:
            groups.append([])
            size = 0
        groups[-1].append(f"{one.first}:{one.last}" if one.count > 1 else str(one.first))
        size += cost
    return [",".join(group) for group in groups]
