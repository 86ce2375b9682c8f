"""Policies that networks' configurations state: in force for each of their containers, or refused."""

import select
import socket
import time
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest
import yaml

from netns.policy_cases import match, pods, policy
from netns.policy_machine import DB_FROM_WEB, SUBNETS, LabelledContainers, apply, knocking, labelled
from support.command import CommandLine
from support.machine import Config
from support.suite import Suite

Document = dict[str, Any]
DB_FROM_OTHER = policy([{"from": [pods(match(app="other"))]}], target=match(app="db"), namespace="default")
UNAPPLIED = "the policies of the network's configuration are not applied as they are now"


class StatedNetwork:
    """The network of some containers, configured for the command as well, with policies."""

    def __init__(self, shibafu: CommandLine, cluster: LabelledContainers) -> None:
        self.shibafu = shibafu
        self.cluster = cluster
        self.machine = cluster.machine
        self.path = shibafu.conf_dir / "net.conflist"

    def state(self, **keys: Any) -> None:
        """Write policies into the network's configuration, in place of those that it has."""
        self.cluster.config = self.machine.config(*SUBNETS) | keys
        plugin = {
            key: value for key, value in self.cluster.config.items() if key not in ("cniVersion", "name")
        }
        whole = {"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "loopback"}, plugin]}
        self.path.write_text(dumps(whole, indent=4))

    def find_line(self, text: str) -> int:
        lines = self.path.read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def refuse(self, command: str = "ADD") -> Config:
        config = labelled(self.cluster.config, app="db")
        error = self.machine.fail(config, "db", command=command)
        assert UNAPPLIED in error["msg"]
        assert "run `shibafu policy apply`" in error["details"]
        return error


@pytest.fixture
def stated(suite: Suite, cluster: LabelledContainers, tmp_path: Path) -> Iterator[StatedNetwork]:
    with CommandLine(suite, cluster.machine.host, tmp_path) as shibafu:
        yield StatedNetwork(shibafu, cluster)


def test_a_container_is_restricted_from_its_first_packet(stated: StatedNetwork) -> None:
    cluster, machine, mac = stated.cluster, stated.machine, "02:00:00:00:00:01"
    stated.state(policies=[DB_FROM_WEB])
    assert stated.shibafu("policy apply").endswith(" and what networks' configurations state\n")
    cluster.attach("other", "web")
    # The addresses are given out one after the other.
    before, _, number = cluster.addresses["web"][0].rpartition(".")
    wanted = f"{before}.{int(number) + 1}"
    machine.container("other").run("ip", "neigh", "add", wanted, "lladdr", mac, "dev", "eth0")
    with machine.container("db").enter():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("", 5000))
    with listener:
        with knocking(machine.container("other"), wanted):
            cluster.attach("db", CNI_ARGS=f"IgnoreUnknown=1;MAC={mac}")
            time.sleep(0.05)
        assert cluster.addresses["db"][0] == wanted
        assert not select.select([listener], [], [], 0)[0]
    assert cluster.reaches("web", "db") == [True, True]
    cluster.check("db")
    # They may be long, and are the host's: no container's record has them.
    assert not any("NetworkPolicy" in path.read_text() for path in machine.records.rglob("veth*"))


def test_nobody_is_attached_before_they_are_applied(stated: StatedNetwork) -> None:
    cluster, machine = stated.cluster, stated.machine
    machine.container("db")
    before = machine.snapshot()
    stated.state(policies=[DB_FROM_WEB])
    stated.refuse()
    assert stated.refuse("STATUS")["code"] == 50
    assert machine.snapshot() == before
    assert "the policies are not applied" in stated.shibafu.run("policy", "ls")[1]
    stated.shibafu("policy apply")
    assert machine.call("STATUS", cluster.config).status == 0
    cluster.attach("db", "web", "other")
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]


def test_changed_ones_wait_to_be_applied(stated: StatedNetwork) -> None:
    """Those that were applied stay in force meanwhile."""
    cluster, machine = stated.cluster, stated.machine
    stated.state(policies=[DB_FROM_WEB])
    stated.shibafu("policy apply")
    cluster.attach("db", "web", "other")
    stated.state(policies=[DB_FROM_OTHER])
    machine.fail(labelled(cluster.config, app="db"), "second")
    assert UNAPPLIED in cluster.find_fault("db")
    (said,) = {fault["what"] for fault in stated.shibafu.json("network repair -n", status=1)["faults"]}
    assert said == UNAPPLIED
    assert cluster.reaches("other", "db") == [False, False]
    stated.shibafu("policy apply")
    cluster.check("db")
    stated.shibafu("network check")
    assert cluster.reaches("other", "db") == [True, True]
    # Without them, it is like any network.
    stated.state(policies=[DB_FROM_WEB])
    cluster.delete("db")
    stated.state()
    assert "have been changed" in stated.shibafu.run("policy", "ls")[1]
    stated.shibafu("policy apply")
    assert machine.tables() == set()


def test_a_runtime_may_write_the_same_in_another_way(stated: StatedNetwork) -> None:
    """It sorts keys, for example, and has no whole numbers."""
    with_port = policy([{"ports": [{"port": 80}]}], target=match(app="db"), namespace="default")
    stated.state(policies=[with_port])
    stated.shibafu("policy apply")
    passed = dict(sorted(with_port.items(), reverse=True))
    passed["spec"] = passed["spec"] | {"ingress": [{"ports": [{"port": 80.0}]}]}
    stated.cluster.config = stated.cluster.config | {"policies": [passed]}
    stated.cluster.attach("db")


def test_the_command_says_where_they_are(stated: StatedNetwork) -> None:
    cluster, shibafu = stated.cluster, stated.shibafu
    stated.state(policies=[DB_FROM_WEB])
    shibafu("policy apply")
    cluster.attach("db", "web", "other")
    place = f"{stated.path}:{stated.find_line('policies') + 1}"
    (one,) = shibafu.json("policy ls")["policies"]
    assert (one["place"], one["containers"]) == (place, ["db"])
    assert shibafu.run("policy", "ls")[1] == ""
    name = f"{one['namespace']}/{one['name']}"
    assert place in shibafu(f"policy inspect {name}")
    db, web, other = (cluster.addresses[name][0] for name in ("db", "web", "other"))
    said = shibafu.json(f"policy explain {web} {db} 80")
    assert (said["difference"], said["paths"][0]["ingress"]["rule"]["place"].split(":")[0]) == (
        "",
        str(stated.path),
    )
    assert not shibafu.json(f"policy explain {other} {db} 80", status=1)["allowed"]
    restricted = shibafu.json("network inspect net")[0]["restricted"]
    assert {"source": "other", "destination": "db", "ports": "none"} in restricted
    assert f"is declared in {place}" in shibafu.fail(f"policy rm {name}")
    given = yaml.safe_dump(DB_FROM_OTHER | {"metadata": DB_FROM_WEB["metadata"]})
    assert f"is declared in {place}: change it there" in shibafu.fail("policy apply -f -", stdin=given)
    table = f"- {{from: {other}, to: {db}, port: 80, allowed: false}}\n"
    assert shibafu("policy test -", stdin=table) == "1 of 1 expectations are met\n"


def test_a_directory_of_policies(stated: StatedNetwork, tmp_path: Path) -> None:
    cluster, shibafu, directory = stated.cluster, stated.shibafu, tmp_path / "of-net"
    stated.state(policyDir=str(directory))
    assert "of-net: no such file or directory" in shibafu.fail("policy apply")
    directory.mkdir()
    # An empty one counts as well.
    shibafu("policy apply")
    cluster.attach("web", "other")
    (directory / "db.yaml").write_text(yaml.safe_dump(DB_FROM_WEB))
    assert "have been changed" in shibafu.run("policy", "ls")[1]
    directory.chmod(0o777)
    assert f"others can write to {directory}" in shibafu.fail("policy apply")
    directory.chmod(0o755)
    # Another network may name it, too.
    (stated.path.parent / "second.conflist").write_text(stated.path.read_text().replace('"net"', '"second"'))
    shibafu("policy apply")
    cluster.attach("db")
    assert cluster.reaches("other", "db") == [False, False]
    assert cluster.reaches("web", "db") == [True, True]
    cluster.config = cluster.config | {"policyDir": "of-net"}
    refused = stated.machine.fail(labelled(cluster.config, app="db"), "second")
    assert refused["msg"] == '"policyDir" is not an absolute path: "of-net"'


def test_mistakes_are_told_with_their_lines(stated: StatedNetwork, tmp_path: Path) -> None:
    """Nothing is applied then, and nobody is attached."""
    shibafu, path = stated.shibafu, stated.path
    for policies, said in (
        ([{"kind": "Pod"}], '{}:LINE: kind "Pod" is not supported'),
        ([DB_FROM_WEB | {"spec": {"podSelectr": {}}}], '"spec" has no key "podSelectr"'),
        ([DB_FROM_WEB, DB_FROM_WEB], f"occurs twice, first in {path}:"),
        ([None], "a document must map keys to values"),
        ("all", "cannot unmarshal string into Go struct field NetConf.policies of type array"),
    ):
        stated.state(policies=policies)
        line = stated.find_line("policies") + 2
        told = shibafu.fail("policy apply")
        assert said.replace("LINE", str(line)).format(path) in told
        assert str(path) in told
    stated.state(policies=[DB_FROM_WEB])
    files = tmp_path / "policies"  # which `apply` has made
    (files / "db.yaml").write_text(yaml.safe_dump(DB_FROM_WEB))
    assert f"occurs twice, first in {files}/db.yaml:1" in shibafu.fail("policy apply")
    (files / "db.yaml").unlink()
    stated.refuse()


def test_where_they_would_have_no_effect(stated: StatedNetwork) -> None:
    shibafu, path = stated.shibafu, stated.path
    stated.state(policies=[DB_FROM_WEB])
    text = path.read_text()
    path.write_text(text.replace('"bridge"', '"ipvlan"', 1))
    assert 'plugin ipvlan does not know "policies"' in shibafu.fail("policy apply")
    path.write_text(text.replace('"name": "net"', '"name": "net", "policyDir": "/etc"', 1))
    assert '"policyDir" has no effect next to "plugins"' in shibafu.fail("policy apply")
    path.write_text(text)
    shibafu("policy apply")
    # They are not lifted by a typo.
    path.write_text(text[:-3])
    assert str(path) in shibafu.fail("policy apply")
    path.write_text(text)
    assert [one["name"] for one in shibafu.json("policy ls")["policies"]] == [DB_FROM_WEB["metadata"]["name"]]
    apply(stated.machine)
