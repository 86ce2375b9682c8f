"""`shibafu network repair` of what keeps networks apart: from the host, and from each other."""

from json import dumps, loads

import pytest

from netns.blue_network import BlueNetwork
from shibafu.cni.names import calc_chain
from support.namespaces import Namespace
from support.traffic import can_reach


def test_the_rules_that_keep_a_network_from_the_host_are_mended(network: BlueNetwork) -> None:
    network.is_internal = True
    network.create("--internal --driver-opt macspoofchk=true")
    host = network.host
    host.run("nft", "flush", "ruleset")
    assert network.repair()[-1].startswith("the rules that keep internal network blue from")
    port = loads(host.run("ip", "-j", "link", "show", "master", "br-blue"))[0]["ifname"]
    host.run("ip", "link", "set", port, "group", "0")
    (fault,) = network.repair()
    assert port in fault
    assert "can reach the host" in fault
    host.run("ip", "link", "del", "br-blue")
    assert "bridge br-blue is missing" in network.repair()
    assert loads(host.run("ip", "-j", "addr", "show", "br-blue"))[0]["addr_info"] == []


def test_an_internal_network_of_an_earlier_version(network: BlueNetwork) -> None:
    """It said nothing but that there is no gateway."""
    network.is_internal = True
    network.shibafu("network create blue --subnet 10.66.0.0/24 --internal")
    file = network.shibafu.conf_dir / "blue.conflist"
    config = loads(file.read_text())
    del config["plugins"][0]["internal"]
    file.write_text(dumps(config))
    for container in (network.web, network.db):
        network.shibafu(f"network connect blue {container.name}")
    assert "-internal" not in network.host.run("nft", "list", "tables")
    exported = network.shibafu("network export")
    assert "internal: true" in exported
    assert "blue" in network.shibafu("network apply -f -", stdin=exported)
    assert loads(file.read_text())["plugins"][0]["internal"] is True
    assert "keep" in network.shibafu("network apply -f -", stdin=exported)
    assert len(network.repair()) == 4
    for container in (network.web, network.db):
        network.shibafu(f"network disconnect blue {container.name}")
    assert network.host.run("nft", "list", "tables") == ""


def test_isolation_is_mended(network: BlueNetwork) -> None:
    network.create("--isolate --no-masq")
    host = network.host
    host.run("ip", "link", "set", "br-blue", "group", "0")
    host.run("iptables", "-F")
    assert network.repair() == [
        "link br-blue is not in the group of isolated networks",
        "firewall rules of network blue are missing",
    ]
    assert "--dst-group" in host.run("iptables-save")
    declared = network.shibafu("network export").replace("isolate: true", "isolate: false")
    assert "isolated true -> false" in network.shibafu("network apply -f -", stdin=declared)
    assert network.repair() == [
        "link br-blue is still in the group of isolated networks",
        "firewall rules still isolate network blue",
    ]
    assert "--dst-group" not in host.run("iptables-save")


def test_isolation_is_made_strict_and_back(network: BlueNetwork) -> None:
    """While containers run, and a network that is not isolated has one of its own."""
    network.create("--isolate")
    network.shibafu("network create open --subnet 10.67.0.0/24")
    with Namespace("shop") as shop:
        network.shibafu(f"network connect open {shop.name}")
        declared = network.shibafu("network export")
        strict = declared.replace("isolate: true", "isolate: strict")
        for text, said, faults in (
            (strict, "isolated true -> strict", ["not in the group of strictly isolated", "are missing"]),
            (
                declared,
                "isolated strict -> true",
                ["not in the group of isolated", "still isolate network blue strictly"],
            ),
        ):
            assert said in network.shibafu("network apply -f -", stdin=text)
            for fault, seen in zip(faults, network.repair(), strict=True):
                assert fault in seen
            assert can_reach(shop, "10.67.0.2", network.web) == (text == declared)
            assert can_reach(network.web, "10.66.0.2", shop) == (text == declared)
    network.shibafu("network rm blue open --force")
    assert "SHIBAFU" not in network.host.run("iptables-save")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("iptables -t mangle -F {chain}-S", "firewall rules of network blue are missing"),
        pytest.param(
            *("ip6tables -t mangle -D FORWARD 1", "firewall rules of network blue are missing"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *(
                "iptables -t mangle -I {chain}-S -j ACCEPT",
                "firewall rules of network blue contain other rules",
            ),
            marks=pytest.mark.long,
        ),
        ("ip link set br-open group 0", "bridge br-open of another network is not isolated from this one"),
    ],
)
def test_a_strictly_isolated_network_was_opened(network: BlueNetwork, command: str, said: str) -> None:
    network.create("--subnet fd66::/64 --isolate=strict")
    network.shibafu("network create open --subnet 10.67.0.0/24 --subnet fd67::/64")
    with Namespace("shop") as shop:
        network.shibafu(f"network connect open {shop.name}")

        def is_open() -> bool:
            return any(can_reach(network.web, address, shop) for address in ("10.66.0.2", "fd66::2"))

        assert not is_open()
        network.host.run("sh", "-ec", command.format(chain=calc_chain("blue")))
        assert is_open()
        (fault,) = network.repair()
        assert said in fault
        assert not is_open()


def test_networks_on_one_bridge_that_do_not_agree(network: BlueNetwork) -> None:
    """Network red, which is isolated, comes to the bridge of blue, which is not: no repair opens it."""
    network.create()
    shibafu, web = network.shibafu, network.web
    shibafu("network create green --subnet 10.68.0.0/24 --isolate")
    shibafu("network create red --subnet fd67::/64 --isolate")
    (config,) = shibafu.conf_dir.glob("*red*")
    config.write_text(config.read_text().replace("br-red", "br-blue"))
    with Namespace("shop") as shop, Namespace("app") as app:
        shibafu(f"network connect green {app.name}")
        shibafu(f"network connect red {shop.name}")
        said = "link br-blue is still in the group of isolated networks"
        assert said in shibafu.run("network", "check", status=1)[0]
        assert said in [fault["what"] for fault in shibafu.json("network repair -n", status=1)["faults"]]
        network.host.run("ip", "link", "set", "br-blue", "down")
        text, _ = shibafu.run("network", "repair", status=1)
        assert 'network "red" on bridge "br-blue" is isolated, and this one is not' in text
        assert can_reach(network.host, "10.66.0.1", web)
        assert not can_reach(web, "10.66.0.2", app)
        shibafu(f"network disconnect red {shop.name}")
        shibafu("network repair")
        network.check()
        assert can_reach(web, "10.66.0.2", app)
