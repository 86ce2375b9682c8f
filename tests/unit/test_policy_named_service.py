"""Ports by the names that destinations give to them."""

import pytest

from shibafu.policy.evaluation import Service
from shibafu.policy.model import NamedPort, Pod
from shibafu.policy.named_service import NamedService, parse_service_or_name

DNS = Pod("default", "dns", named_ports=(NamedPort("dns", "UDP", 53), NamedPort("dns", "TCP", 5353)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", Service("TCP", 80)),
        ("udp/53", Service("UDP", 53)),
        ("http", NamedService("TCP", "http")),
        ("sctp/a1", NamedService("SCTP", "a1")),
    ],
)
def test_a_number_or_a_name(text: str, found: Service | NamedService) -> None:
    assert parse_service_or_name(text) == found


@pytest.mark.parametrize(
    "text", ["", "/http", "icmp/http", "tcp/Http", "tcp/0", "0120", "tcp/udp/http", "http/tcp"]
)
def test_neither(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a port.*; or with the name of a port"):
        parse_service_or_name(text)


def test_the_destination_has_the_number() -> None:
    assert NamedService("UDP", "dns").find(DNS) == Service("UDP", 53)
    assert NamedService("TCP", "dns").find(DNS) == Service("TCP", 5353)
    with pytest.raises(
        ValueError, match=r"dns gives no port of sctp the name .* its names: dns=53/udp, dns=5353/tcp"
    ):
        NamedService("SCTP", "dns").find(DNS)
    with pytest.raises(ValueError, match="only containers give names to ports"):
        NamedService("TCP", "dns").find(None)
