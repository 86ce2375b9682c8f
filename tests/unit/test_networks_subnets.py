"""Which subnets, gateways and ranges are chosen, and which are refused."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.spec import (
    NetworkSpec,
    Subnet,
    check_spec,
)
from shibafu.networks.subnets import (
    DEFAULT_SUBNET,
    Use,
    choose_ipv6_subnet,
    choose_subnet,
    combine_subnets,
    find_supernet,
    parse_ip_range,
    require_free,
)
from support.networks import mistakes


def use(*subnets: str) -> list[Use]:
    return [Use(ip_network(subnet), f"{subnet} of another") for subnet in subnets]


# Subnets


def test_a_free_subnet_is_clear_of_all_that_is_used() -> None:
    assert choose_subnet([]) == ip_network("172.20.1.0/24")
    assert choose_subnet(use("172.20.0.0/16", "172.21.0.0/25")) == ip_network("172.21.1.0/24")
    assert choose_subnet(use("172.16.0.0/12")) == ip_network("10.200.0.0/24")
    with pytest.raises(CommandError, match="is free"):
        choose_subnet(use("172.16.0.0/12", "10.0.0.0/8"))


def test_the_default_network_has_a_subnet_kept_for_it_or_else_a_free_one() -> None:
    assert choose_subnet([], is_default=True) == DEFAULT_SUBNET
    assert choose_subnet(use("172.20.0.0/16"), is_default=True) == ip_network("172.21.0.0/24")


def test_what_is_far_away_is_kept_clear_of_while_anything_else_is_left() -> None:
    far = [Use(one.network, one.what, is_far=True) for one in use("172.16.0.0/12", "10.0.0.0/8")]
    assert choose_subnet(far[:1]) == ip_network("10.200.0.0/24")
    assert choose_subnet(far) == ip_network("172.20.1.0/24")
    assert choose_subnet([*far, *use("172.20.0.0/16")]) == ip_network("172.21.0.0/24")
    subnet = ip_network("10.64.0.0/24")
    require_free(subnet, far)
    supernet = find_supernet(subnet, far)
    assert supernet is not None
    assert supernet.network == ip_network("10.0.0.0/8")
    for as_wide in ("10.64.0.0/24", "10.64.0.128/25", "10.64.0.7/32"):
        with pytest.raises(CommandError, match="overlaps"):
            require_free(subnet, [Use(ip_network(as_wide), as_wide, is_far=True)])


@given(st.lists(st.integers(0, 1023)))
def test_no_chosen_subnet_overlaps(numbers: list[int]) -> None:
    used = [Use(ip_network((0xAC140000 + (number << 8), 24)), "") for number in numbers]
    chosen = choose_subnet(used)
    assert not any(chosen.overlaps(one.network) for one in used)
    assert chosen != DEFAULT_SUBNET


def test_a_used_subnet_is_refused_with_its_user() -> None:
    require_free(ip_network("10.1.0.0/24"), use("10.1.1.0/24", "fd00::/8"))
    with pytest.raises(CommandError, match=r"10\.1\.0\.0/16 overlaps with 10\.1\.1\.0/24 of another"):
        require_free(ip_network("10.1.0.0/16"), use("10.1.1.0/24"))


def test_an_ipv6_subnet_is_local_and_always_the_same() -> None:
    subnet = choose_ipv6_subnet("blue", "machine", [])
    assert subnet.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]  # it is IPv6
    assert subnet.prefixlen == 64
    assert subnet == choose_ipv6_subnet("blue", "machine", [])
    assert subnet != choose_ipv6_subnet("blue", "another", [])


def test_gateways_and_ranges_find_their_subnets() -> None:
    networks = [ip_network("10.1.0.0/24"), ip_network("fd00::/64")]
    assert combine_subnets(networks, [ip_address("fd00::1")], ["10.1.0.128/25"]) == (
        Subnet(networks[0], None, ip_address("10.1.0.128"), ip_address("10.1.0.255")),
        Subnet(networks[1], ip_address("fd00::1")),
    )
    for gateways, ranges, said in (
        (["10.2.0.1"], [], "is not in subnet"),
        (["10.1.0.1", "10.1.0.2"], [], "two gateways"),
        ([], ["10.1.0.250-10.1.1.3"], "is not in subnet"),
        ([], ["10.1.0.1-x"], "not a range of addresses"),
    ):
        with pytest.raises(UsageError, match=said):
            combine_subnets(networks, [ip_address(gateway) for gateway in gateways], ranges)
    with pytest.raises(UsageError, match="needs its subnet"):
        combine_subnets([], [ip_address("10.1.0.1")], [])
    assert parse_ip_range("10.1.0.3 - 10.1.0.9") == (ip_address("10.1.0.3"), ip_address("10.1.0.9"))


@pytest.mark.parametrize(
    ("subnet", "said"),
    [
        ("0.0.0.0/0", "0.0.0.0/8"),
        ("0.5.0.0/16", "mean no host"),
        ("127.5.0.0/16", "loopback"),
        ("126.0.0.0/7", "loopback"),
        ("169.254.7.0/24", "link-local"),
        ("224.5.0.0/16", "multicast"),
        ("240.5.0.0/16", "reserved"),
        ("255.255.255.0/24", "reserved"),
        ("192.0.0.0/2", "multicast"),
        ("::/64", "no host"),
        ("::/0", "no host"),
        ("::ffff:10.1.0.0/120", "IPv4 addresses"),
        ("fe80::/64", "link-local"),
        ("ff02::/64", "multicast"),
        ("10.1.0.0/31", "choose a /30"),
        ("10.1.0.1/32", "choose a /30"),
        ("fd00::/127", "choose a /126"),
    ],
)
def test_a_subnet_that_containers_cannot_use_is_refused(subnet: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        combine_subnets([ip_network(subnet)], [], [])
    assert said in f"{caught.value.message}; {caught.value.hint}"
    assert "choose" in caught.value.hint
    ((line, told),) = mistakes(f"networks:\n  a:\n    subnets:\n    - {{subnet: '{subnet}'}}")
    assert (line, told) == (4, f"{caught.value.message}; {caught.value.hint}")


@pytest.mark.parametrize(
    ("subnet", "gateway", "addresses", "said"),
    [
        ("10.1.0.0/24", "10.1.0.0", None, "network address"),
        ("10.1.0.0/24", "10.1.0.255", None, "broadcast address"),
        ("fd00::/64", "fd00::", None, "network address"),
        ("10.1.0.0/24", None, "10.1.0.1-10.1.0.1", "no address for a container"),
        ("10.1.0.0/24", None, "10.1.0.0-10.1.0.1", "no address for a container"),
        ("10.1.0.0/24", None, "10.1.0.255/32", "no address for a container"),
        ("10.1.0.0/24", "10.1.0.9", "10.1.0.9/32", "no address for a container"),
        ("fd00::/64", None, "fd00::/127", "no address for a container"),
        ("10.1.0.0/24", None, "10.1.0.9-10.1.0.5", "write 10.1.0.5-10.1.0.9"),
        ("fd00::/64", None, "fd00::9-10.1.0.5", "is not in subnet"),
    ],
)
def test_a_gateway_or_range_that_cannot_work_is_refused(
    subnet: str, gateway: str | None, addresses: str | None, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        combine_subnets(
            [ip_network(subnet)], [ip_address(gateway)] if gateway else [], [addresses] if addresses else []
        )
    assert said in f"{caught.value.message}; {caught.value.hint}"
    stated = [f"subnet: '{subnet}'"]
    stated += [f"gateway: '{gateway}'"] if gateway else []
    stated += [f"range: '{addresses}'"] if addresses else []
    text = "networks:\n  a:\n    subnets:\n    - " + "\n      ".join(stated)
    ((line, told),) = mistakes(text)
    assert (line, told) == (3 + len(stated), f"{caught.value.message}; {caught.value.hint}")


@pytest.mark.parametrize(
    ("subnet", "gateway", "addresses"),
    [
        ("10.1.0.0/30", None, None),
        ("10.1.0.0/24", "10.1.0.254", "10.1.0.1-10.1.0.1"),
        ("10.1.0.0/24", None, "10.1.0.254-10.1.0.255"),
        ("fd00::/126", "fd00::3", "fd00::2/128"),
        ("100.64.0.0/10", None, None),
        ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", None),
    ],
)
def test_what_leaves_an_address_for_a_container_is_taken(
    subnet: str, gateway: str | None, addresses: str | None
) -> None:
    gateways = [ip_address(gateway)] if gateway else []
    subnets = combine_subnets([ip_network(subnet)], gateways, [addresses] if addresses else [])
    check_spec(NetworkSpec("blue", "br-blue", subnets))
