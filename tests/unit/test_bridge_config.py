"""The keys of the bridge plugin's configuration."""

import pytest

from shibafu.bridge.config import KEYS, BridgeConfig, is_valid_link_name
from shibafu.cni import errors
from shibafu.cni.errors import CniError
from shibafu.cni.names import ISOLATED, OPEN, STRICT
from support.calls import make_request


def read(cni_args: str = "", /, **keys: object) -> BridgeConfig:
    return BridgeConfig(make_request(keys, CNI_ARGS=cni_args))


def refuse(cni_args: str = "", /, **keys: object) -> CniError:
    with pytest.raises(CniError) as caught:
        read(cni_args, **keys)
    assert caught.value.details, "a refusal says what to change"
    return caught.value


def test_defaults() -> None:
    config = read()
    assert config.network == "net"
    assert config.bridge == "cni0"
    assert (config.mtu, config.vlan, config.vlan_trunk) == (0, 0, [])
    assert config.mac is None
    assert config.dns == {}
    assert not config.has_ipam
    assert not config.has_vlans
    flags = [name for name, _, _ in KEYS.values() if getattr(config, name) is True]
    assert flags == ["ip_spoof_check"]


@pytest.mark.parametrize(
    ("key", "attribute"),
    [
        ("isGateway", "is_gateway"),
        ("isDefaultGateway", "is_default_gateway"),
        ("forceAddress", "force_address"),
        ("ipMasq", "ip_masq"),
        ("hairpinMode", "hairpin_mode"),
        ("promiscMode", "promisc_mode"),
        ("portIsolation", "port_isolation"),
        ("ipspoofchk", "ip_spoof_check"),
        ("macspoofchk", "mac_spoof_check"),
        ("internal", "internal"),
        ("enabledad", "enable_dad"),
        ("disableContainerInterface", "disable_container_interface"),
        ("preserveDefaultVlan", "preserve_default_vlan"),
    ],
)
def test_switches(key: str, attribute: str) -> None:
    assert getattr(read(**{key: True}), attribute) is True
    assert getattr(read(**{key.upper(): True}), attribute) is True
    assert getattr(read(**{key: False}), attribute) is False
    error = refuse(**{key: "true"})
    assert error.msg == (
        "failed to load netconf: json: cannot unmarshal string into Go struct field "
        f"NetConf.{key} of type bool"
    )


def test_isolation_is_a_switch_and_needs_addresses() -> None:
    ipam = {"type": "host-local"}
    for value, isolation in ((True, ISOLATED), ("strict", STRICT), (False, OPEN), (None, OPEN)):
        assert read(isolate=value, ipam=ipam).isolate == isolation
    error = refuse(isolate="true", ipam=ipam)
    assert error.code == errors.INVALID_CONFIG
    assert error.msg.endswith("cannot unmarshal string into Go struct field NetConf.isolate of type bool")
    assert error.details == 'change "isolate" to true, false or "strict"'
    assert refuse(isolate=1, ipam=ipam).msg.endswith("NetConf.isolate of type bool")
    assert refuse(isolate=True).msg == "cannot isolate a network without IPAM"


@pytest.mark.parametrize(("masquerade", "isolate"), [(True, False), (False, True), (True, True)])
def test_what_needs_rules(masquerade: bool, isolate: bool) -> None:
    assert read(ipMasq=masquerade, isolate=isolate, ipam={"type": "host-local"}).needs_rules
    assert not read().needs_rules


def test_the_default_gateway_is_a_gateway() -> None:
    assert read(isDefaultGateway=True).is_gateway


def test_values() -> None:
    config = read(
        bridge="br7", mtu=1400, vlan=100, ipam={"type": "host-local"}, dns={"domain": "x", "search": []}
    )
    assert (config.bridge, config.mtu, config.vlan, config.ipam_type) == ("br7", 1400, 100, "host-local")
    assert config.dns == {"domain": "x"}
    assert config.has_ipam
    assert config.has_vlans
    assert config.gateway_link == "br7.100"
    assert read(bridge="br7").gateway_link == "br7"


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}])
def test_layer_2(ipam: object) -> None:
    assert not read(ipam=ipam).has_ipam


@pytest.mark.parametrize(
    ("trunk", "vlans"),
    [
        ([], []),
        ([{"id": 5}, {"id": 3}, {"id": 5}], [3, 5]),
        ([{"minID": 10, "maxID": 12}, {"id": 11}], [10, 11, 12]),
        ([{"minID": 1, "maxID": 1, "id": 4094}], [1, 4094]),
    ],
)
def test_trunks(trunk: object, vlans: list[int]) -> None:
    assert read(vlanTrunk=trunk).vlan_trunk == vlans


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vlan": 4095}, "invalid VLAN ID 4095 (must be between 0 and 4094)"),
        ({"vlan": -1}, "invalid VLAN ID -1 (must be between 0 and 4094)"),
        ({"vlanTrunk": [{"id": 0}]}, "incorrect trunk id parameter"),
        ({"vlanTrunk": [{"id": 4095}]}, "incorrect trunk id parameter"),
        ({"vlanTrunk": [{"minID": 0, "maxID": 5}]}, "incorrect trunk minID parameter"),
        ({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}, "incorrect trunk maxID parameter"),
        ({"vlanTrunk": [{"minID": 6, "maxID": 5}]}, "minID is greater than maxID in trunk parameter"),
        (
            {"vlanTrunk": [{"minID": 1}]},
            "minID and maxID should be configured simultaneously, maxID is missing",
        ),
        (
            {"vlanTrunk": [{"maxID": 1}]},
            "minID and maxID should be configured simultaneously, minID is missing",
        ),
        (
            {"hairpinMode": True, "promiscMode": True},
            "cannot set hairpin mode and promiscuous mode at the same time.",
        ),
        (
            {"disableContainerInterface": True, "ipam": {"type": "x"}},
            "cannot use IPAM when DisableContainerInterface flag is set",
        ),
        ({"mtu": -1}, "invalid mtu -1"),
        ({"mtu": 65536}, "invalid mtu 65536"),
        ({"mtu": 67}, "invalid mtu 67"),
        ({"bridge": "a/b"}, 'invalid bridge name "a/b"'),
    ],
)
def test_refusals(keys: dict[str, object], message: str) -> None:
    error = refuse(**keys)
    assert (error.code, error.msg) == (errors.INVALID_CONFIG, message)


@pytest.mark.parametrize("name", ["br0", "a", "cni-podman0", "a.b_c+d", "a" * 15, "0"])
def test_names_of_links(name: str) -> None:
    assert is_valid_link_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a" * 16,
        "a b",
        "a/b",
        "a:b",
        'a"b',
        "a'b",
        "a;b",
        "-a",
        "a+",
        "a\n",
        "ä",
        "a\0",
        "all",
        "default",
    ],
)
def test_names_that_the_kernel_or_a_rule_would_misread(name: str) -> None:
    assert not is_valid_link_name(name)


@pytest.mark.parametrize("name", ["-x", "eth+"])
def test_the_refusal_of_a_name_says_what_is_wrong_with_it(name: str) -> None:
    assert "does not begin with - or end with +" in refuse(bridge=name).details


def test_the_refusal_of_an_mtu_says_which_are_right() -> None:
    assert read(mtu=68).mtu == 68
    assert refuse(mtu=1).details == '"mtu" must be 0 or 68 to 65535'


BAD: list[dict[str, object]] = [
    {"bridge": 5},
    {"ipMasq": "true"},
    {"isolate": 1},
    {"isolate": "sometimes"},
    {"internal": True, "isGateway": True},
    {"vlan": 4095},
    {"vlan": "x"},
    {"vlanTrunk": [{"id": 0}]},
    {"vlanTrunk": 5},
    {"mtu": "1500"},
    {"hairpinMode": "true"},
    {"dns": {"nameservers": "1.1.1.1"}},
    {"dns": []},
    {"ipMasqBackend": "foo"},
    {"nonMasqueradeCIDRs": ["10.42.0.0"]},
    {"nonMasqueradeCIDRs": "10.42.0.0/16"},
    {"ipam": {"type": "x"}, "disableContainerInterface": True},
    {"ipam": []},
    {"ipam": {"type": 5}},
    {"runtimeConfig": {"mac": "zz"}},
]


@pytest.mark.parametrize("command", ["DEL", "GC"])
@pytest.mark.parametrize("keys", BAD, ids=str)
def test_removing_takes_any_configuration(command: str, keys: dict[str, object]) -> None:
    config = BridgeConfig(make_request(keys, command))
    assert config.bridge == "cni0"
    assert config.ipam_type in ("", "x")


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_what_removing_reads(command: str) -> None:
    keys: dict[str, object] = {
        "BRIDGE": "br7",
        "ipmasq": True,
        "internal": True,
        "isolate": True,
        "macspoofchk": True,
        "ipMasqBackend": "nftables",
        "ipam": {"TYPE": "host-local"},
    }
    config = BridgeConfig(make_request(keys, command))
    assert (config.bridge, config.ip_masq_backend, config.ipam_type) == ("br7", "nftables", "host-local")
    assert (config.ip_masq, config.mac_spoof_check, config.internal) == (True,) * 3
    assert config.isolate == ISOLATED
    assert BridgeConfig(make_request(keys | {"isolate": "strict"}, command)).isolate == STRICT


@pytest.mark.parametrize("text", ["02:42:0a:00:00:05", "02-42-0A-00-00-05", "02:42:0A:00:00:05"])
def test_hardware_addresses(text: str) -> None:
    assert read(runtimeConfig={"mac": text}).mac == bytes.fromhex("02420a000005")


@pytest.mark.parametrize(
    "text",
    ["zz", "02:42:0a:00:00", "02:42:0a:00:00:05:06", "02:42:0a:00:00:0", "02420a000005", "02:42:0a:00:00: 5"],
)
def test_what_is_no_hardware_address(text: str) -> None:
    error = refuse(runtimeConfig={"mac": text})
    assert error.msg == f"failed to make veth pair: address {text}: invalid MAC address"


@pytest.mark.parametrize("text", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])
def test_hardware_addresses_that_no_link_can_have(text: str) -> None:
    assert "not a unicast MAC address" in refuse(runtimeConfig={"mac": text}).msg


def test_which_hardware_address_wins() -> None:
    runtime, args, cni_args = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
    keys: dict[str, object] = {"args": {"cni": {"mac": args}}}
    env = f"MAC={cni_args}"
    assert read(env, **keys, runtimeConfig={"mac": runtime}).mac == bytes([2, 0, 0, 0, 0, 1])
    assert read(env, **keys, runtimeConfig={"mac": ""}).mac == bytes([2, 0, 0, 0, 0, 2])
    assert read(env, args={"cni": {}}).mac == bytes([2, 0, 0, 0, 0, 3])
    assert read("").mac is None


def test_unknown_cni_args_are_refused() -> None:
    error = refuse("IP=10.0.0.1")
    assert (error.code, error.msg) == (errors.INVALID_ENVIRONMENT, 'ARGS: unknown args ["IP=10.0.0.1"]')
    assert read("IgnoreUnknown=1;IP=10.0.0.1").mac is None


def test_what_is_watched() -> None:
    assert read().watch == {"bridge", "rules", "sysctl"}
    assert read(watch=None).watch == read(watch={}).watch == read().watch
    assert read(WATCH={"Sysctl": False, "container": True}).watch == {"bridge", "rules", "container"}
    assert "json: cannot unmarshal bool into Go struct field NetConf.watch" in refuse(watch=True).msg
    assert refuse(watch={"rules": "no"}).msg.endswith("watch.rules of type bool")
