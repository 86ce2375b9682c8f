"""One way to break an attribute of an attachment, and what is said of it then."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any


@dataclass(frozen=True)
class Breakage:
    """One way to break an attribute.

    Args:
        attribute: the resource and the attribute. Each item of a list is broken by itself.
        command: for sh(1), on the host or, where it begins with `inside:`, in the container. In braces are
            the resource's attributes, and what `Breakage.calc_words` adds.
        said: a part of what is said.
        when: attributes that the resource has to have for it; None for one that it is not to have.
        undo: what removes what the command has made; of what cannot be mended, it mends it.
        listed: what the list of what cannot be mended calls it; empty for what can.
        advised: a part of what is to be done about what cannot be mended.
        network: which one of NETWORKS it is tried on.
    """

    attribute: str
    command: str
    said: str
    when: Mapping[str, Any] = field(default_factory=dict)
    undo: str = ""
    listed: str = ""
    advised: str = ""
    network: str = "gateway"

    def __str__(self) -> str:
        return f"{self.attribute}: {self.command}"

    def fits(self, name: str, described: Mapping[str, Any]) -> bool:
        """Return whether a resource can be broken by it."""
        resource, _, attribute = self.attribute.partition(".")
        has_all = all(described.get(key) == value for key, value in self.when.items())
        return name == resource and attribute in described and has_all

    def calc_words(self, described: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield what stands for the words in braces, once for each item of the attribute.

        Of an address or the destination of a route: `address`, and its `prefix`; `family` and `iptables` as
        options and programs call the family, and `other`, another address of the subnet.
        """
        value = described[self.attribute.partition(".")[2]]
        for item in value if isinstance(value, list) else [value]:
            filled = {**words, **described, "item": item}
            if isinstance(item, dict):
                filled |= item
            if "{gw}" in self.said and "gw" not in filled:
                continue  # a route that says of no gateway
            try:
                address = ip_interface(str(filled.get("dst", item)))
            except ValueError:
                yield filled
                continue
            is_v6 = address.version == 6
            filled |= {
                "address": str(address.ip),
                "prefix": str(address.network),
                "family": f"-{address.version}",
            }
            filled |= {"other": f"{address.ip + 77}/{address.network.prefixlen}"}
            yield filled | {"iptables": "ip6tables" if is_v6 else "iptables"}
