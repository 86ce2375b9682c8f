"""What a network is made of: names, subnets, options, conflists, declarations."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni.errors import CniError
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.manifest import calc_manifest, format_manifest, parse_manifest
from shibafu.networks.spec import (
    NetworkSpec,
    Subnet,
    calc_bridge_name,
    calc_conflist,
    check_spec,
    parse_conflist,
    parse_option,
    require_network_name,
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
        (["10.2.0.1"], [], "does not lie in subnet"),
        (["10.1.0.1", "10.1.0.2"], [], "two gateways"),
        ([], ["10.1.0.250-10.1.1.3"], "does not lie in subnet"),
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
        ("0.5.0.0/16", "stand for no host"),
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
        ("fd00::/64", None, "fd00::9-10.1.0.5", "does not lie in subnet"),
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


# Conflists

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
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_conflist_says_what_the_network_is(spec: NetworkSpec) -> None:
    check_spec(spec)
    conflist = calc_conflist(spec)
    assert parse_conflist(conflist["name"], conflist["plugins"]) == spec


def test_an_internal_network_has_no_gateway() -> None:
    plugin = calc_conflist(SPECS[2])["plugins"][0]
    assert not {"isGateway", "isDefaultGateway", "ipMasq"} & plugin.keys()
    assert plugin.pop("internal")
    # As earlier versions wrote it.
    assert parse_conflist("cell", [plugin]) == SPECS[2]


def test_old_runtimes_get_an_old_version_and_new_ones_choose() -> None:
    conflist = calc_conflist(SPECS[0])
    assert (conflist["cniVersion"], conflist["cniVersions"][-1]) == ("0.4.0", "1.1.0")


@pytest.mark.parametrize(
    "change", [{"type": "bridge"}, {"dns": {}}, {"ipam": {"type": "dhcp"}}, {"vlan": "7"}]
)
def test_what_cannot_be_stated_is_not_taken_for_stated(change: dict[str, Any]) -> None:
    plugin = calc_conflist(SPECS[0])["plugins"][0]
    assert parse_conflist("blue", [plugin | change]) is None
    assert parse_conflist("blue", [plugin, {"type": "portmap"}]) is None


def test_what_the_plugins_refuse_is_refused_at_once() -> None:
    with pytest.raises(CniError, match="too small to allocate from"):
        check_spec(NetworkSpec("blue", "br-blue", (Subnet(ip_network("10.1.0.0/31")),)))
    for bridge in ("all", "default"):
        with pytest.raises(CniError, match="invalid bridge name"):
            check_spec(NetworkSpec("blue", bridge, SPECS[0].subnets))
    options = {"hairpinMode": True, "promiscMode": True}
    with pytest.raises(CniError, match="at the same time"):
        check_spec(NetworkSpec("blue", "br-blue", SPECS[0].subnets, options=options))


def test_ipv6_takes_an_mtu_of_1280() -> None:
    subnets = (*SPECS[0].subnets, Subnet(ip_network("fd00::/64")))
    check_spec(NetworkSpec("blue", "br-blue", subnets, mtu=1280))
    check_spec(NetworkSpec("blue", "br-blue", subnets[:1], mtu=1279))
    with pytest.raises(CommandError, match="at least 1280"):
        check_spec(NetworkSpec("blue", "br-blue", subnets, mtu=1279))


def test_names() -> None:
    assert calc_bridge_name("blue") == "br-blue"
    assert len(calc_bridge_name("a-network-with-a-long-name")) == 15
    for name in ("", "a b", "-x", "a/b", ".hidden", "host", "none"):
        with pytest.raises(UsageError):
            require_network_name(name)


def test_options_have_types() -> None:
    assert parse_option("portIsolation", "TRUE") is True
    assert parse_option("vlan", "7") == 7
    assert parse_option("vlan", 7) == 7
    for key, value in (
        ("vlan", True),
        ("portIsolation", 1),
        ("ipMasqBackend", False),
        ("ipMasqBackend", "ipfw"),
        ("bridge", "x"),
    ):
        with pytest.raises(ValueError, match="driver option"):
            parse_option(key, value)


# Declarations


def test_a_declaration_survives_its_own_format() -> None:
    declared = [item.partial for item in parse_manifest(format_manifest(SPECS), "file")]
    assert [partial.name for partial in declared] == ["blue", "lab", "cell", "shop", "vault"]
    for partial, spec in zip(declared, SPECS, strict=True):
        assert (partial.subnets, partial.bridge, partial.mtu) == (spec.subnets, spec.bridge, spec.mtu)
        assert (partial.is_internal, partial.is_masqueraded) == (spec.is_internal, spec.is_masqueraded)
        assert partial.isolated == spec.isolated
        assert dict(partial.options) == spec.options
    assert calc_manifest(SPECS)["networks"]["blue"] == {"subnets": ["10.1.0.0/24"], "bridge": "br-blue"}


def mistakes(text: str) -> Iterator[tuple[int, str]]:
    with pytest.raises(CommandError) as caught:
        parse_manifest(text, "file")
    for line in caught.value.message.splitlines():
        name, number, said = line.split(":", 2)
        assert name == "file"
        yield int(number), said.strip()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("- a", 1, "holds keys with values"),
        ("network: {}", 1, "has no key"),
        ("networks:\n  a: [\n", 3, "expected"),
        ("networks: [a]", 1, '"networks" holds keys'),
        ("networks:\n  a b:", 2, "not a valid name for a network"),
        ("networks:\n  a:\n  none:", 3, "choose another name"),
        ("networks:\n  a:\n  b:\n  a:", 4, "occurs twice, first on line 2"),
        ("networks:\n  a:\n    mtu: big", 3, '"mtu" is a whole number'),
        ("networks:\n  a:\n    ipv6: 1", 3, '"ipv6" is true or false'),
        ("networks:\n  a:\n    isolate: yes please", 3, '"isolate" is true, false or strict'),
        ("networks:\n  a:\n    bridge: [x]", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    mut: 3", 3, 'has no key "mut"'),
        ("networks:\n  a:\n    subnets: 10.1.0.0/24", 3, "is a list"),
        ("networks:\n  a:\n    subnets:\n    - 10.1.0.1/24", 4, "write 10.1.0.0/24"),
        ("networks:\n  a:\n    subnets:\n    - 'fd00::'", 4, "write fd00::/64"),
        ("networks:\n  a:\n    subnets:\n    - 10.1.0", 4, "write one such as 10.1.0.0/24"),
        (f"networks:\n  {'n' * 247}:", 2, "at most 246 characters"),
        ("networks:\n  a:\n    subnets:\n    - [x]", 4, "a subnet holds keys"),
        ("networks:\n  a:\n    subnets:\n    - {gateway: 10.1.0.1}", 4, 'needs the key "subnet"'),
        (
            "networks:\n  a:\n    subnets:\n    - subnet: 10.1.0.0/24\n      gateway: 10.2.0.1",
            5,
            "10.2.0.1 does not lie in",
        ),
        (
            "networks:\n  a:\n    subnets:\n    - {subnet: 10.1.0.0/24, range: 3}",
            4,
            "is not a range of addresses",
        ),
        ("networks:\n  a:\n    driver-opts:\n      vlan: x", 4, "driver option vlan is a whole number"),
        ("networks:\n  a:\n    driver-opts:\n      ipMasqBackend: ipfw", 4, "is iptables or nftables"),
        ("networks:\n  a:\n    driver-opts: [vlan]", 3, '"driver-opts" holds keys'),
        # Forms and tags that promise what the text does not keep.
        ("networks:\n  a:\n    bridge: 2001-13-45", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    mtu: " + "9" * 5000, 3, '"mtu" is a whole number'),
        ("networks:\n  a:\n    mtu: !!int big", 3, '"mtu" is a whole number'),
        ("networks:\n  a:\n    ipv6: !!bool perhaps", 3, '"ipv6" is true or false'),
        ("networks:\n  a:\n    bridge: !!timestamp now", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    bridge: !!python/name:os.system", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    bridge: !!map x", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    driver-opts: {vlan: 2001-13-45}", 3, "put it in quotes"),
        ("networks:\n  a:\n    bridge: a\0b", 3, "character 0x00 is not allowed"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    found = list(mistakes(text))
    assert any(number == line and said in what for number, what in found), found


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? "])
def test_what_is_nested_too_deeply(piece: str) -> None:
    with pytest.raises(CommandError, match="file: nested too deeply"):
        parse_manifest("networks: " + piece * 5000 if piece in "[{a: " else piece * 5000, "file")


def test_aliases_are_not_multiplied() -> None:
    levels = "".join(f"&l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n    - " for n in range(1, 30))
    text = f"networks:\n  a:\n    subnets:\n    - &l0 10.1.0.0/24\n    - {levels}10.2.0.0/24"
    assert len(list(mistakes(text))) == 58  # two for each of 29 lists
    with suppress(CommandError):
        parse_manifest("networks: &a {b: *a}", "file")


def test_all_mistakes_are_told_at_once_in_their_order() -> None:
    text = "networks:\n  a:\n    mtu: x\n    ipv6: y\n  b:\n    bridge: 3\nfoo: 1\n"
    assert [line for line, _ in mistakes(text)] == [3, 4, 6, 7]


@given(st.text(alphabet="networks:\n a-[]{}*&!'\"#|>?%@`,10.\t"))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    with suppress(CommandError):
        parse_manifest(text, "file")
