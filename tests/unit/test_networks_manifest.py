"""The manifest of networks: what it says, and its mistakes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.networks.errors import CommandError
from shibafu.networks.manifest import calc_manifest, format_manifest, parse_manifest
from support.networks import SPECS, mistakes


def test_a_declaration_survives_its_own_format() -> None:
    declared = [item.partial for item in parse_manifest(format_manifest(SPECS), "file")]
    assert [partial.name for partial in declared] == ["blue", "lab", "cell", "shop", "vault", "lan"]
    for partial, spec in zip(declared, SPECS, strict=True):
        assert (partial.subnets, partial.bridge, partial.mtu) == (spec.subnets, spec.bridge, spec.mtu)
        assert (partial.is_internal, partial.is_masqueraded) == (spec.is_internal, spec.is_masqueraded)
        assert partial.isolated == spec.isolated
        assert dict(partial.options) == spec.options
    assert calc_manifest(SPECS)["networks"]["blue"] == {"subnets": ["10.1.0.0/24"], "bridge": "br-blue"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("- a", 1, "must map keys to values"),
        ("network: {}", 1, "has no key"),
        ("networks:\n  a: [\n", 3, "expected"),
        ("networks: [a]", 1, '"networks" must map keys'),
        ("networks:\n  a b:", 2, "not a valid name for a network"),
        ("networks:\n  a:\n  none:", 3, "choose another name"),
        ("networks:\n  a:\n  b:\n  a:", 4, "occurs twice, first on line 2"),
        ("networks:\n  a:\n    mtu: big", 3, '"mtu" is a whole number'),
        ("networks:\n  a:\n    ipv6: 1", 3, '"ipv6" is true or false'),
        ("networks:\n  a:\n    isolate: yes please", 3, '"isolate" must be true, false or strict'),
        ("networks:\n  a:\n    bridge: [x]", 3, '"bridge" is a text'),
        ("networks:\n  a:\n    mut: 3", 3, 'has no key "mut"'),
        ("networks:\n  a:\n    subnets: 10.1.0.0/24", 3, "must be a list"),
        ("networks:\n  a:\n    subnets:\n    - 10.1.0.1/24", 4, "write 10.1.0.0/24"),
        ("networks:\n  a:\n    subnets:\n    - 'fd00::'", 4, "write fd00::/64"),
        ("networks:\n  a:\n    subnets:\n    - 10.1.0", 4, "write one such as 10.1.0.0/24"),
        (f"networks:\n  {'n' * 247}:", 2, "at most 246 characters"),
        ("networks:\n  a:\n    subnets:\n    - [x]", 4, "a subnet must map keys"),
        ("networks:\n  a:\n    subnets:\n    - {gateway: 10.1.0.1}", 4, 'needs the key "subnet"'),
        (
            "networks:\n  a:\n    subnets:\n    - subnet: 10.1.0.0/24\n      gateway: 10.2.0.1",
            5,
            "10.2.0.1 is not in",
        ),
        (
            "networks:\n  a:\n    subnets:\n    - {subnet: 10.1.0.0/24, range: 3}",
            4,
            "is not a range of addresses",
        ),
        ("networks:\n  a:\n    driver-opts:\n      vlan: x", 4, "driver option vlan must be a whole number"),
        ("networks:\n  a:\n    driver-opts:\n      ipMasqBackend: ipfw", 4, "must be iptables or nftables"),
        ("networks:\n  a:\n    driver-opts: [vlan]", 3, '"driver-opts" must map keys'),
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
