"""Keys, defaults and refusals of the `ipam` section, and the addresses that callers request."""

import os
from pathlib import Path
from typing import Any

import pytest

from shibafu.cni.errors import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    NO_ADDRESS,
    NOT_AVAILABLE,
    TRY_AGAIN_LATER,
)
from support.ipam import Ipam

R = {"subnet": "10.1.0.0/24"}
R2 = {"subnet": "10.2.0.0/24"}
R6 = {"subnet": "fd00::/64"}


def first(tmp_path: Path, ipam: dict[str, object], **config: Any) -> list[tuple[str, str]]:
    """Return address and gateway of each range set's first address."""
    status, answer = Ipam(tmp_path, ipam).call("ADD", **config)
    assert status == 0, answer
    return [(ip["address"], ip["gateway"]) for ip in answer["ips"]]


@pytest.mark.parametrize(
    ("ipam", "msg"),
    [
        ({}, "no IP ranges specified"),
        ({"ranges": []}, "no IP ranges specified"),
        ({"rangeStart": "10.1.0.5"}, "no IP ranges specified"),
        ({"subnet": "bogus"}, "invalid CIDR address: bogus"),
        ({"subnet": ""}, "invalid CIDR address: "),
        ({"subnet": "10.1.0.0"}, "invalid CIDR address: 10.1.0.0"),
        ({"subnet": "10.01.0.0/24"}, "invalid CIDR address: 10.01.0.0/24"),
        (R | {"rangeStart": "bogus"}, "invalid IP address: bogus"),
        (R | {"rangeEnd": "10.1.0.9/24"}, "invalid IP address: 10.1.0.9/24"),
        (R | {"gateway": "zz"}, "invalid IP address: zz"),
        ({"ranges": [[]]}, "invalid range set 0: empty range set"),
        ({"ranges": [None]}, "invalid range set 0: empty range set"),
        ({"ranges": [[{}]]}, "invalid range set 0: IP <nil> not v4 nor v6"),
        ({"ranges": [[R], [R2, R6]]}, "invalid range set 1: mixed address families"),
        ({"subnet": "10.1.0.0/31"}, "invalid range set 0: Network 10.1.0.0/31 too small to allocate from"),
        ({"subnet": "fd00::/127"}, "invalid range set 0: Network fd00::/127 too small to allocate from"),
        (
            {"subnet": "10.1.0.5/24"},
            "invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network "
            "address is 10.1.0.0",
        ),
        (
            R | {"rangeStart": "10.2.0.1"},
            "invalid range set 0: RangeStart 10.2.0.1 not in network 10.1.0.0/24",
        ),
        (R | {"rangeStart": "fd00::1"}, "invalid range set 0: RangeStart fd00::1 not in network 10.1.0.0/24"),
        (R | {"rangeEnd": "10.2.0.1"}, "invalid range set 0: RangeEnd 10.2.0.1 not in network 10.1.0.0/24"),
        (R | {"rangeEnd": "fd00::1"}, "invalid range set 0: RangeEnd fd00::1 not in network 10.1.0.0/24"),
        (R | {"rangeEnd": "10.1.0.0"}, "invalid range set 0: RangeEnd 10.1.0.0 not in network 10.1.0.0/24"),
        (
            R | {"rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.3"},
            "invalid range set 0: RangeStart 10.1.0.9 not in network 10.1.0.0/24",
        ),
        (
            R | {"rangeStart": "10.1.0.255"},
            "invalid range set 0: RangeStart 10.1.0.255 is the broadcast address of 10.1.0.0/24",
        ),
        (
            R | {"rangeStart": "10.1.0.255", "rangeEnd": "10.1.0.255"},
            "invalid range set 0: RangeStart 10.1.0.255 is the broadcast address of 10.1.0.0/24",
        ),
        (
            R | {"rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.0"},
            "invalid range set 0: RangeStart 10.1.0.0 is the network address of 10.1.0.0/24",
        ),
        (
            R6 | {"rangeStart": "fd00::", "rangeEnd": "fd00::"},
            "invalid range set 0: RangeStart fd00:: is the network address of fd00::/64",
        ),
        (
            {"ranges": [[R, {"subnet": "10.1.0.0/16"}]]},
            "invalid range set 0: subnets 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.255.254 overlap",
        ),
        ({"ranges": [[R], [R2], [R]]}, "range set 0 overlaps with 2"),
        (R | {"ranges": [[R]]}, "range set 0 overlaps with 1"),
        (R | {"routes": [{"dst": "zz"}]}, "invalid CIDR address: zz"),
        (R | {"routes": [{"dst": "10.0.0.0/8", "gw": "x"}]}, "invalid IP address: x"),
        (R | {"dataDir": "var/lib"}, 'invalid dataDir "var/lib"'),
        (R | {"dataDir": "/a\0b"}, "open /a\0b: invalid argument"),
        (R | {"dataDir": "/\ud800"}, "open /\ud800: invalid argument"),
        (R | {"resolvConf": "a\0b"}, "open a\0b: invalid argument"),
        (R | {"resolvConf": "/\ud800"}, "open /\ud800: invalid argument"),
    ],
)
def test_refusals(tmp_path: Path, ipam: dict[str, object], msg: str) -> None:
    assert Ipam(tmp_path, ipam).fail("ADD") == (INVALID_CONFIG, msg)
    assert not list(tmp_path.iterdir())


def test_a_range_without_subnet_is_told_what_it_needs(tmp_path: Path) -> None:
    _, answer = Ipam(tmp_path, {"ranges": [[{}]]}).call("ADD")
    assert 'needs "subnet"' in answer["details"]


def test_null_is_no_route(tmp_path: Path) -> None:
    status, answer = Ipam(tmp_path, R | {"routes": [None, {"dst": "10.0.0.0/8"}]}).call("ADD")
    assert status == 0
    assert answer["routes"] == [{"dst": "10.0.0.0/8"}]


@pytest.mark.parametrize("key", ["runtimeConfig", "args"])
def test_null_is_no_address(tmp_path: Path, key: str) -> None:
    ips: dict[str, object] = {"ips": [None]}
    config: Any = {key: {"cni": ips} if key == "args" else ips}
    assert Ipam(tmp_path, R).fail("ADD", **config) == (INVALID_CONFIG, "invalid IP address ")


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS"])
def test_no_ipam_section(tmp_path: Path, command: str) -> None:
    assert Ipam(tmp_path).fail(command, ipam=None) == (INVALID_CONFIG, "IPAM config missing 'ipam' key")


def test_a_misspelt_address_is_refused_before_senseless_ranges(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, {"ranges": [[{"subnet": "10.1.0.0/31"}], [{"subnet": "zz"}]]})
    assert ipam.fail("ADD") == (INVALID_CONFIG, "invalid CIDR address: zz")


@pytest.mark.parametrize("version", ["", "0.1.0", "0.2.0"])
def test_old_versions_have_one_address_per_family(tmp_path: Path, version: str) -> None:
    two = Ipam(tmp_path, {"ranges": [[R], [R2]]}, {"cniVersion": version})
    stated = version or "0.1.0"
    assert two.fail("ADD") == (
        INVALID_CONFIG,
        f"CNI version {stated} does not support more than 1 address per family",
    )
    both = Ipam(tmp_path, {"ranges": [[R], [R6]]}, {"cniVersion": version})
    status, answer = both.call("ADD")
    assert status == 0
    assert (answer["ip4"]["ip"], answer["ip6"]["ip"]) == ("10.1.0.2/24", "fd00::2/64")


@pytest.mark.parametrize(
    ("ipam", "expected"),
    [
        (R, [("10.1.0.2/24", "10.1.0.1")]),
        (R6, [("fd00::2/64", "fd00::1")]),
        ({"SUBNET": "10.1.0.0/24"}, [("10.1.0.2/24", "10.1.0.1")]),
        (R | {"rangeStart": "", "rangeEnd": None, "gateway": ""}, [("10.1.0.2/24", "10.1.0.1")]),
        (R | {"rangeStart": "10.1.0.1"}, [("10.1.0.2/24", "10.1.0.1")]),
        (R | {"rangeStart": "10.1.0.0"}, [("10.1.0.2/24", "10.1.0.1")]),
        (R6 | {"rangeStart": "fd00::"}, [("fd00::2/64", "fd00::1")]),
        (R | {"gateway": "10.1.0.254"}, [("10.1.0.1/24", "10.1.0.254")]),
        (R | {"gateway": "10.9.0.1"}, [("10.1.0.1/24", "10.9.0.1")]),
        (R | {"gateway": "fd00::1"}, [("10.1.0.1/24", "fd00::1")]),
        (R | {"ranges": [[R2]]}, [("10.1.0.2/24", "10.1.0.1"), ("10.2.0.2/24", "10.2.0.1")]),
        (
            {"ranges": [[R2], [R6], [R]]},
            [("10.2.0.2/24", "10.2.0.1"), ("fd00::2/64", "fd00::1"), ("10.1.0.2/24", "10.1.0.1")],
        ),
        ({"subnet": "0.0.0.0/0"}, [("0.0.0.2/0", "0.0.0.1")]),
        ({"subnet": "fd00::/126", "rangeStart": "fd00::3"}, [("fd00::3/126", "fd00::1")]),
    ],
)
def test_defaults(tmp_path: Path, ipam: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert first(tmp_path, ipam) == expected


def test_the_last_address_of_ipv6_is_used_and_that_of_ipv4_is_not(tmp_path: Path) -> None:
    v4, v6 = Ipam(tmp_path / "4", {"subnet": "10.1.0.0/30"}), Ipam(tmp_path / "6", {"subnet": "fd00::/126"})
    assert v4.add("c1") == ["10.1.0.2"]
    assert v4.fail("ADD", "c2")[1].endswith("no IP addresses available in range set: 10.1.0.1-10.1.0.2")
    assert [v6.add("c1"), v6.add("c2")] == [["fd00::2"], ["fd00::3"]]


def test_a_broadcast_address_that_the_range_ends_with_is_not_given(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, R | {"rangeStart": "10.1.0.254", "rangeEnd": "10.1.0.255"})
    assert ipam.add("c1") == ["10.1.0.254"]
    for command, code in (("ADD", TRY_AGAIN_LATER), ("STATUS", NOT_AVAILABLE)):
        answer = ipam.fail(command, "c2")
        assert answer[0] == code
        assert answer[1].endswith("no IP addresses available in range set: 10.1.0.254-10.1.0.255")


@pytest.mark.parametrize("command", ["ADD", "STATUS"])
def test_a_range_of_the_broadcast_address_alone_is_refused(tmp_path: Path, command: str) -> None:
    ipam = Ipam(tmp_path, R | {"rangeStart": "10.1.0.255", "rangeEnd": "10.1.0.255"})
    code, message = ipam.fail(command)
    assert code == INVALID_CONFIG
    assert "RangeStart 10.1.0.255 is the broadcast address of 10.1.0.0/24" in message


@pytest.mark.parametrize(
    ("address", "kind"), [("10.1.0.255", "the broadcast address"), ("10.1.0.0", "the network address")]
)
def test_what_no_container_can_have_is_not_given_on_request(tmp_path: Path, address: str, kind: str) -> None:
    ipam = Ipam(tmp_path, R | {"rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.255"})
    assert ipam.fail("ADD", cni_args=f"IP={address}") == (
        NO_ADDRESS,
        f"failed to allocate for range 0: requested ip {address} is {kind} of 10.1.0.0/24",
    )
    assert not ipam.leases()


def test_range_sets_of_the_runtime_come_first(tmp_path: Path) -> None:
    addresses = first(tmp_path, R | {"ranges": [[R2]]}, runtimeConfig={"ipRanges": [[R6]]})
    assert [address for address, _ in addresses] == ["fd00::2/64", "10.1.0.2/24", "10.2.0.2/24"]


def test_routes_and_dns(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(
        "# nameserver 9.9.9.9\n; a comment\n\nnameserver 10.0.0.53 \n nameserver fd00::53\ndomain a.example\n"
        "domain b.example\nsearch c.example d.example\nsearch e.example\noptions ndots:2 edns0\nnameserver\n"
        "sortlist 10.0.0.0\n"
    )
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9", "mtu": 1400, "table": 0}]
    _, answer = Ipam(tmp_path, R | {"routes": routes, "resolvConf": str(resolv_conf)}).call("ADD")
    assert answer == {
        "cniVersion": "1.1.0",
        "dns": {
            "nameservers": ["10.0.0.53", "fd00::53"],
            "domain": "b.example",
            "search": ["c.example", "d.example", "e.example"],
            "options": ["ndots:2", "edns0"],
        },
        "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
        "routes": routes,
    }


def test_a_resolv_conf_that_is_no_file(tmp_path: Path) -> None:
    """Its other end is not waited for."""
    os.mkfifo(tmp_path / "fifo")
    ipam = Ipam(tmp_path, R | {"resolvConf": str(tmp_path / "fifo")})
    assert ipam.fail("ADD") == (IO_FAILURE, f"open {tmp_path}/fifo: is not a regular file")
    ipam = Ipam(tmp_path, R | {"resolvConf": str(tmp_path)})
    assert ipam.fail("ADD") == (IO_FAILURE, f"open {tmp_path}: is a directory, not a file")
    assert not ipam.leases()


def test_a_resolv_conf_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nameserver 10.0.0.53\n")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    _, answer = Ipam(tmp_path, R | {"resolvConf": str(tmp_path / "link")}).call("ADD")
    assert answer["dns"] == {"nameservers": ["10.0.0.53"]}


def test_a_missing_resolv_conf(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, R | {"resolvConf": "/nonexistent"})
    assert ipam.fail("ADD")[1] == "open /nonexistent: no such file or directory"
    assert not ipam.leases()


@pytest.mark.parametrize(
    ("args", "config"),
    [
        ("IP=10.1.0.77", {}),
        ("IP=10.1.0.77/16", {}),
        ("IgnoreUnknown=1;K8S_POD_NAME=b;IP=10.1.0.77", {}),
        ("", {"args": {"cni": {"ips": ["10.1.0.77"]}}}),
        ("", {"runtimeConfig": {"ips": ["10.1.0.77/24"]}}),
        ("", {"runtimeConfig": {"IPs": ["10.1.0.77"]}}),
        (
            "IP=10.1.0.77",
            {"args": {"cni": {"ips": ["10.1.0.77"]}}, "runtimeConfig": {"ips": ["10.1.0.77/24"]}},
        ),
        ("IP=::ffff:10.1.0.77", {}),
    ],
)
def test_requested_addresses(tmp_path: Path, args: str, config: dict[str, Any]) -> None:
    ipam = Ipam(tmp_path)
    assert ipam.add(cni_args=args, **config) == ["10.1.0.77"]
    assert (ipam.directory / "last_reserved_ip.0").read_text() == "10.1.0.77"
    assert ipam.add("c2") == ["10.1.0.78"]


def test_requested_addresses_go_to_their_range_sets(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, {"ranges": [[R], [R2], [R6]]})
    addresses = ipam.add(cni_args="IP=fd00::7", runtimeConfig={"ips": ["10.2.0.9"]})
    assert addresses == ["10.1.0.2", "10.2.0.9", "fd00::7"]


@pytest.mark.parametrize(
    ("args", "config", "code", "msg"),
    [
        (
            "IP=zz",
            {},
            INVALID_ENVIRONMENT,
            'ARGS: error parsing value of pair "IP=zz": invalid IP address zz',
        ),
        ("ip=10.1.0.7", {}, INVALID_ENVIRONMENT, 'ARGS: unknown args ["ip=10.1.0.7"]'),
        ("", {"args": {"cni": {"ips": ["zz"]}}}, INVALID_CONFIG, "invalid IP address zz"),
        ("", {"runtimeConfig": {"ips": ["10.1.0.7/33"]}}, INVALID_CONFIG, "invalid IP address 10.1.0.7/33"),
        ("IP=10.2.0.1", {}, NO_ADDRESS, "failed to allocate all requested IPs: 10.2.0.1"),
        (
            "IP=10.1.0.7",
            {"runtimeConfig": {"ips": ["10.1.0.8", "fd00::1"]}},
            NO_ADDRESS,
            "failed to allocate all requested IPs: 10.1.0.8 fd00::1",
        ),
        (
            "IP=10.1.0.1",
            {},
            NO_ADDRESS,
            "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway",
        ),
    ],
)
def test_refused_requests(tmp_path: Path, args: str, config: dict[str, Any], code: int, msg: str) -> None:
    ipam = Ipam(tmp_path)
    assert ipam.fail("ADD", cni_args=args, **config) == (code, msg)
    assert not ipam.leases()


def test_an_empty_request_is_none(tmp_path: Path) -> None:
    assert Ipam(tmp_path).add(cni_args="IP=") == ["10.1.0.2"]
