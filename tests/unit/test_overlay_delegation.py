"""What shibafu-overlay makes of its configuration and the host's subnet, as flannel's plugin does."""

from json import dumps
from typing import Any

import pytest

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.request import Request
from shibafu.overlay.config import parse_overlay_config
from shibafu.overlay.delegation import DEFAULT_DATA_DIR, OverlayConfig
from shibafu.overlay.subnet_file import parse_subnet_file

HOST = parse_subnet_file(
    "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.73.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
    "subnet.env",
)
RANGES = [[{"subnet": "10.42.73.0/24"}]]
ROUTES = [{"dst": "10.42.0.0/16"}]


def read(command: str = "ADD", /, **keys: object) -> OverlayConfig:
    values = {"cniVersion": "1.0.0", "name": "net", "type": "shibafu-overlay", **keys}
    return OverlayConfig(Request(command, {}, dumps(values).encode(), Section(values, "NetConf"), "1.0.0"))


def render(**keys: object) -> dict[str, Any]:
    return read("ADD", **keys).render(HOST)


def test_defaults() -> None:
    config = read()
    assert config.data_dir == DEFAULT_DATA_DIR
    # That of the agent's network of the same name.
    (agent,) = parse_overlay_config(
        "networks: [{name: net, endpoints: ['http://[::1]:2379']}]", "overlay.yaml"
    )
    assert config.subnet_file == agent.subnet_file
    assert config.render(HOST) == {
        "cniVersion": "1.0.0",
        "name": "net",
        "type": "shibafu-bridge",
        "isGateway": True,
        "ipMasq": True,
        "nonMasqueradeCIDRs": ["10.42.0.0/16"],
        "mtu": 1450,
        "ipam": {"type": "shibafu-ipam", "ranges": RANGES, "routes": ROUTES},
    }


def test_as_flannel_it_has_the_reference_s_plugins_do_the_work() -> None:
    assert read(type="flannel").subnet_file == "/run/flannel/subnet.env"
    values = render(type="flannel", delegate={"ipMasq": False})
    assert (values["type"], values["ipam"]["type"]) == ("bridge", "host-local")
    assert "nonMasqueradeCIDRs" not in values


def test_what_is_stated_stays_in_any_spelling() -> None:
    stated = {"IPMASQ": False, "Mtu": 1400, "isgateway": False, "hairpinMode": True}
    values = render(delegate=stated, ipam={"Type": "static", "Routes": [{"dst": "10.9.0.0/16"}]})
    assert {key: values[key] for key in stated} == stated
    assert not {"ipMasq", "mtu", "isGateway", "nonMasqueradeCIDRs"} & set(values)
    assert values["ipam"] == {
        "Type": "static",
        "ranges": RANGES,
        "routes": [{"dst": "10.9.0.0/16"}, *ROUTES],
    }


def test_another_plugin_gets_no_keys_of_a_bridge() -> None:
    values = render(delegate={"type": "ipvlan"})
    assert {"isGateway", "nonMasqueradeCIDRs"}.isdisjoint(values)
    assert (values["mtu"], values["ipam"]["type"]) == (1450, "host-local")


def test_what_the_runtime_asks_for_is_passed_on() -> None:
    asked = {"runtimeConfig": {"ips": ["10.42.73.9"]}, "args": {"cni": {"mac": "02:00:00:00:00:07"}}}
    values = render(delegate={"runtimeConfig": {"mac": "x"}}, **asked)
    assert {key: values[key] for key in asked} == asked


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"delegate": {"type": 5}}, "'delegate' dictionary, if present, must have (string) 'type' field"),
        ({"delegate": {"type": ""}}, "'delegate' dictionary, if present, must have (string) 'type' field"),
        (
            {"delegate": {"name": "x"}},
            "'delegate' dictionary must not have 'name' field, it'll be set by flannel",
        ),
        (
            {"delegate": {"ipam": None}},
            "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel",
        ),
        (
            {"delegate": []},
            "failed to load netconf: json: cannot unmarshal array into Go struct field "
            "NetConf.delegate of type object",
        ),
        (
            {"ipam": {"routes": {}}},
            "failed to load netconf: json: cannot unmarshal object into Go struct field "
            "NetConf.ipam.routes of type array",
        ),
        ({"policies": [{}]}, '"policies" is not a key of shibafu-overlay but of its delegate'),
        ({"policyDir": "/p"}, '"policyDir" is not a key of shibafu-overlay but of its delegate'),
        (
            {"subnetFile": 5},
            "failed to load netconf: json: cannot unmarshal number into Go struct field "
            "NetConf.subnetFile of type string",
        ),
    ],
)
def test_refusals(keys: dict[str, object], message: str) -> None:
    with pytest.raises(CniError) as caught:
        read("ADD", **keys)
    assert (caught.value.code, caught.value.msg) == (INVALID_CONFIG, message)
    for command in ("DEL", "GC"):
        values = read(command, **keys).render(None)
        assert values["name"] == "net"
        assert values["type"] == "shibafu-bridge"


def test_removing_needs_no_subnet() -> None:
    values = read("DEL", ipam={"dataDir": "/d"}).render(None)
    assert values["ipam"] == {"type": "shibafu-ipam", "dataDir": "/d"}


def test_what_was_sent_is_kept_but_for_the_call() -> None:
    sent = {"cniVersion": "0.4.0", "type": "bridge", "mtu": 1400, "runtimeConfig": {"mac": "x"}}
    previous = {"cniVersion": "1.0.0", "ips": []}
    values = read("CHECK", prevResult=previous, delegate={"mtu": 9000}).amend(sent)
    assert values == {**sent, "cniVersion": "1.0.0", "prevResult": previous}
