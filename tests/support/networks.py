"""Networks of every kind, as specifications, and the mistakes of manifests."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from shibafu.networks.errors import CommandError
from shibafu.networks.manifest import parse_manifest
from shibafu.networks.spec import NetworkSpec, Subnet

SPECS = [
    NetworkSpec("blue", "br-blue", (Subnet(ip_network("10.1.0.0/24")),)),
    NetworkSpec(
        "lab",
        "lab0",
        (
            Subnet(
                ip_network("10.2.0.0/16"),
                ip_address("10.2.0.9"),
                ip_address("10.2.1.0"),
                ip_address("10.2.1.99"),
            ),
            Subnet(ip_network("fd00::/64")),
        ),
        mtu=1400,
        is_masqueraded=False,
        isolated=True,
        options={"portIsolation": True, "vlan": 7, "ipMasqBackend": "nftables"},
    ),
    NetworkSpec("cell", "br-cell", (Subnet(ip_network("10.3.0.0/24")),), is_internal=True),
    NetworkSpec("shop", "br-shop", (Subnet(ip_network("10.4.0.0/24")),), isolated=True),
    NetworkSpec("vault", "br-vault", (Subnet(ip_network("10.5.0.0/24")),), isolated="strict"),
    NetworkSpec(
        "lan",
        "br-lan",
        (Subnet(ip_network("10.6.0.0/24"), None, ip_address("10.6.0.9"), ip_address("10.6.0.99")),),
        options={"gatewayHA": "vrrp", "gatewayHostIP": ["10.6.0.2/24"], "vrrpID": 7},
    ),
]


def mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of each mistake that a manifest is refused for."""
    with pytest.raises(CommandError) as caught:
        parse_manifest(text, "file")
    for line in caught.value.message.splitlines():
        name, number, said = line.split(":", 2)
        assert name == "file"
        yield int(number), said.strip()
