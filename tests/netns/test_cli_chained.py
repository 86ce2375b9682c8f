"""`shibafu network` and what plugins beside the bridge's have made of a container: told and mended alike."""

from json import dumps
from pathlib import Path
from typing import Any

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach

MAC = "02:00:00:00:00:05"
_SYSCTL = "net.ipv4.conf.IFNAME.log_martians"
_PATH = "/proc/sys/net/ipv4/conf/eth0/log_martians"
_TUNING: dict[str, Any] = {
    "type": "tuning",
    "mac": MAC,
    "mtu": 1400,
    "allmulti": True,
    "txQLen": 77,
    "sysctl": {_SYSCTL: "1"},
}
_BRIDGE = {
    "type": "bridge",
    "bridge": "jobs0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.69.0.0/24"}]]},
}
# What somebody does in the container, and what is said of it.
BREAKAGES = {
    "lo": ("ip link set lo down", "interface lo of the container is down"),
    "mtu": (
        "ip link set eth0 mtu 1300",
        "Error: Tuning configured MTU of eth0 is 1400, current value is 1300",
    ),
    "mac": (
        "ip link set eth0 address 02:00:00:00:00:06",
        f"Error: Tuning configured Ethernet of eth0 is {MAC}, current value is 02:00:00:00:00:06",
    ),
    "allmulti": (
        "ip link set eth0 allmulticast off",
        "Error: Tuning configured all-multicast mode of eth0 is true, current value is false",
    ),
    "txQLen": (
        "ip link set eth0 txqueuelen 78",
        "Error: Tuning configured Transmit Queue Length of eth0 is 77, current value is 78",
    ),
    "sysctl": (
        "sysctl -q net.ipv4.conf.eth0.log_martians=0",
        f"Error: Tuning configured value of {_PATH} is 1, current value is 0",
    ),
}


def connect(shibafu: CommandLine, web: Namespace, **changes: object) -> None:
    """Attach a container by a chain of three, of which the last changes what the second has made."""
    tuning = _TUNING | {"dataDir": str(shibafu.store / "tuning")} | changes
    plugins = [{"type": "loopback"}, _BRIDGE, tuning]
    conflist = {"cniVersion": "1.0.0", "name": "jobs", "plugins": plugins}
    (shibafu.conf_dir / "10-jobs.conflist").write_text(dumps(conflist))
    shibafu(f"network connect jobs {web.name}")


def test_all_is_well_after_add(shibafu: CommandLine, web: Namespace) -> None:
    connect(shibafu, web)
    shibafu("network check jobs")
    assert shibafu.json("network repair -n jobs")["faults"] == []
    ((endpoint,),) = (view["endpoints"] for view in shibafu.json("network inspect jobs"))
    resources = {one["resource"]: one["attributes"] for one in endpoint["resources"]}
    assert resources["loopbackInterface"] == {"name": "lo", "state": "up"}
    assert resources["sysctls"] == {"sysctl": ["net/ipv4/conf/eth0/log_martians=1"]}
    tuned = {"name": "eth0", "mac": MAC, "mtu": 1400, "promisc": False, "allmulti": True, "txQLen": 77}
    assert resources["tunedInterface"] == tuned
    assert all(one["faults"] == [] for one in endpoint["resources"])


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_breaks_is_told_and_mended(
    shibafu: CommandLine, host: Namespace, web: Namespace, name: str
) -> None:
    connect(shibafu, web)
    command, what = BREAKAGES[name]
    web.run(*command.split())
    faults = shibafu.json("network repair -n jobs", status=1)["faults"]
    assert what in [fault["what"] for fault in faults]
    # The first plugin that finds a fault tells of it: of the address, that is the bridge's.
    said = "eth0 has the hardware address" if name == "mac" else what
    assert any(said in finding["problem"] for finding in shibafu.json("network check jobs", status=1))
    (view,) = shibafu.json("network inspect jobs")
    told = [fault for one in view["endpoints"][0]["resources"] for fault in one["faults"]]
    assert {"what": what, "advice": ""} in told
    shibafu("network repair jobs")
    assert shibafu.json("network repair -n jobs")["faults"] == []
    shibafu("network check jobs")
    assert can_reach(host, "10.69.0.1", web)
    assert can_reach(web, "127.0.0.1", web)


def test_a_plugin_is_known_under_any_name(shibafu: CommandLine, web: Namespace, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    directory = shibafu.env["CNI_PATH"]
    (tmp_path / "bin" / "tune").symlink_to(f"{directory}/shibafu-tuning")
    shibafu.env["CNI_PATH"] += f":{tmp_path}/bin"
    connect(shibafu, web, type="tune")
    web.run("ip", "link", "set", "eth0", "mtu", "1300")
    shibafu("network repair jobs")
    assert "mtu 1400" in web.run("ip", "link", "show", "eth0")


def test_what_is_invalid_by_now_is_told_and_the_rest_is_mended(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    connect(shibafu, web)
    file = shibafu.conf_dir / "10-jobs.conflist"
    file.write_text(file.read_text().replace(MAC, "zz"))
    host.run("ip", "link", "set", "jobs0", "down")
    web.run("ip", "link", "set", "lo", "down")
    (left,) = shibafu.json("network repair jobs", status=1)["faults"][-1:]
    assert "the configuration of plugin tuning is invalid: invalid args zz for MAC addr: " in left["what"]
    assert (left["repaired"], "six pairs" in left["advice"]) == (False, True)
    assert can_reach(host, "10.69.0.1", web)
    assert can_reach(web, "127.0.0.1", web)
    (view,) = shibafu.json("network inspect jobs")
    refused = [one for one in view["endpoints"][0]["resources"] if one["resource"] == "refusedPlugin"]
    assert [one["attributes"] for one in refused] == [{"type": "tuning"}]


def test_without_a_cached_result_the_tuned_address_is_no_fault(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    connect(shibafu, web)
    for cached in shibafu.cache_dir.iterdir():
        cached.unlink()
    assert shibafu.json("network repair -n jobs")["faults"] == []
    web.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:06")
    shibafu("network repair jobs")
    assert MAC in web.run("ip", "link", "show", "eth0")


def test_rules_of_the_firewall_plugin_are_told_and_made_again(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    connect(shibafu, web, type="firewall", mac=None)
    (view,) = shibafu.json("network inspect jobs")
    (rules,) = (one for one in view["resources"] if one["resource"] == "filterRules")
    assert (rules["attributes"]["links"], rules["faults"]) == (["jobs0"], [])
    host.run("iptables", "-P", "FORWARD", "DROP")
    host.run("iptables", "-F", "FORWARD")
    what = "firewall rules of network jobs are missing or changed"
    faults = shibafu.json("network repair -n jobs", status=1)["faults"]
    assert (what, "") in [(fault["what"], fault["containerID"]) for fault in faults]
    shibafu("network repair jobs")
    assert shibafu.json("network repair -n jobs")["faults"] == []
    shibafu("network check jobs")
    assert "jobs0" in host.run("iptables", "-S")
