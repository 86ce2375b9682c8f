"""The subnet file: flannel's own, and what people and other programs make of it."""

import os
from pathlib import Path

import pytest

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.ip import parse_cidr
from shibafu.overlay.subnet_file import (
    HostSubnet,
    parse_subnet_file,
    read_subnet_file,
    render_subnet_file,
    write_subnet_file,
)

# In the form in which flanneld writes them.
DUAL = """\
FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.73.1/24
FLANNEL_IPV6_NETWORK=fd42::/48
FLANNEL_IPV6_SUBNET=fd42:0:0:19::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
SINGLE = """\
FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.73.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
"""


@pytest.mark.parametrize("text", [DUAL, SINGLE], ids=["dual stack", "IPv4"])
def test_flannels_files_are_written_as_they_are_read(text: str) -> None:
    assert render_subnet_file(parse_subnet_file(text, "subnet.env")) == text


def test_what_a_file_says() -> None:
    host = parse_subnet_file(DUAL, "subnet.env")
    assert [str(network) for network in host.networks] == ["10.42.0.0/16", "fd42::/48"]
    assert [str(subnet) for subnet in host.subnets] == ["10.42.73.1/24", "fd42:0:0:19::1/64"]
    assert (host.mtu, host.ip_masq) == (1450, True)


def test_families_are_in_order_whatever_they_are_given_in() -> None:
    networks = [parse_cidr("fd42::/48"), parse_cidr("10.42.0.0/16")]
    subnets = [parse_cidr("fd42:0:0:19::1/64"), parse_cidr("10.42.73.1/24")]
    assert render_subnet_file(HostSubnet(networks, subnets, 1450, True)) == DUAL


@pytest.mark.parametrize(
    "text",
    [
        SINGLE.replace("=10.42.0.0/16", "=10.42.0.0/17, 10.42.128.0/17,"),
        SINGLE.replace("10.42.0.0/16", "'10.42.0.0/17,10.42.128.0/17'").replace("\n", "  \r\n"),
        "# by hand\n\nno assignment\nFLANNEL_IPV6_SUBNET=\nOTHER=x\nFLANNEL_MTU=9000\n"
        + SINGLE.replace("10.42.0.0/16", "10.42.0.0/17,10.42.128.0/17"),
    ],
    ids=["spaces", "quotes", "other lines"],
)
def test_several_networks_in_any_notation(text: str) -> None:
    host = parse_subnet_file(text, "subnet.env")
    assert [str(network) for network in host.networks] == ["10.42.0.0/17", "10.42.128.0/17"]
    assert (host.mtu, host.ip_masq) == (1450, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "/x is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, "
            "FLANNEL_MTU, FLANNEL_IPMASQ",
        ),
        (SINGLE.replace("FLANNEL_IPMASQ=false\n", ""), "/x is missing FLANNEL_IPMASQ"),
        (SINGLE.replace("1/24", "1/33"), "/x: FLANNEL_SUBNET: invalid CIDR address: 10.42.73.1/33"),
        (SINGLE.replace("10.42.0.0/16", "fd42::/48"), "/x: FLANNEL_NETWORK: fd42::/48 is not of IPv4"),
        (SINGLE.replace("1450", "-1"), '/x: invalid FLANNEL_MTU "-1"'),
        (SINGLE.replace("1450", "9" * 10), f'/x: invalid FLANNEL_MTU "{"9" * 10}"'),
        (SINGLE.replace("1450", "١٤٥٠"), '/x: invalid FLANNEL_MTU "١٤٥٠"'),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_subnet_file(text, "/x")
    assert (caught.value.code, caught.value.msg) == (INVALID_CONFIG, message)
    assert "overlay's agent" in caught.value.details


def test_a_file_appears_whole_and_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "run" / "subnet.env"
    assert read_subnet_file(str(path)) is None
    host = parse_subnet_file(DUAL, "subnet.env")
    write_subnet_file(str(path), host)
    assert path.read_text() == DUAL
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.open()
    write_subnet_file(str(path), parse_subnet_file(SINGLE, "subnet.env"))
    assert before.read() == DUAL
    assert read_subnet_file(str(path)) == parse_subnet_file(SINGLE, "subnet.env") != host
    assert os.listdir(path.parent) == ["subnet.env"]
