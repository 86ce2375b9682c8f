"""Keys and values of hosts, byte for byte as flanneld (cdf7605) has written them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from shibafu.overlay.subnet_leases import (
    SubnetLease,
    Vtep,
    format_lease_key,
    format_lease_value,
    parse_lease,
    parse_lease_key,
)

DUAL_KEY = "10.42.73.0-24&fd42:0:0:19::-64"
DUAL_VALUE = (
    '{"PublicIP":"192.168.77.11","PublicIPv6":"fd77::11","BackendType":"vxlan",'
    '"BackendData":{"VNI":1,"VtepMAC":"de:11:0a:27:15:d9"},"BackendV6Data":{"VNI":1,"VtepMAC":"be:3e:95:b9:8e:ea"}}'
)
DUAL = SubnetLease(
    IPv4Network("10.42.73.0/24"),
    IPv6Network("fd42:0:0:19::/64"),
    IPv4Address("192.168.77.11"),
    IPv6Address("fd77::11"),
    "vxlan",
    Vtep(1, bytes.fromhex("de110a2715d9")),
    Vtep(1, bytes.fromhex("be3e95b98eea")),
)
KEY = "10.42.73.0-24"
VALUE = (
    '{"PublicIP":"192.168.77.11","PublicIPv6":null,"BackendType":"vxlan",'
    '"BackendData":{"VNI":1,"VtepMAC":"de:11:0a:27:15:d9"}}'
)
SINGLE = SubnetLease(DUAL.subnet, None, DUAL.public_ip, None, "vxlan", DUAL.vtep)


@pytest.mark.parametrize(("key", "value", "lease"), [(DUAL_KEY, DUAL_VALUE, DUAL), (KEY, VALUE, SINGLE)])
def test_golden(key: str, value: str, lease: SubnetLease) -> None:
    assert parse_lease(key, value) == lease
    assert format_lease_key(lease.subnet, lease.subnet6) == key
    assert format_lease_value(lease) == value


@pytest.mark.parametrize(
    "key",
    [
        "config",
        "",
        "10.42.73.0",
        "10.42.73.0-33",
        "10.42.73.1-24",
        "10.42.73.0-24&fd42::1-64",
        "10.42.73.0-24/x",
    ],
)
def test_other_keys_are_passed_over(key: str) -> None:
    assert parse_lease_key(key) is None
    assert parse_lease(key, VALUE) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"PublicIP":"x"}',
        VALUE.replace("de:11", "zz:11"),
        VALUE.replace('"VNI":1', '"VNI":"x"'),
    ],
)
def test_damaged_values_are_passed_over(value: str) -> None:
    assert parse_lease(KEY, value) is None


def test_other_backends_have_no_vtep() -> None:
    lease = parse_lease(KEY, '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"host-gw"}')
    assert lease is not None
    assert (lease.backend, lease.vtep) == ("host-gw", None)
