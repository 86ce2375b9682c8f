"""A paused network whose chain has further plugins, each with rules that a network's containers share."""

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from shibafu.cni.names import calc_host_veth
from support.command import CommandLine
from support.namespaces import Namespace
from support.published import publish, reaches
from support.traffic import OUTSIDE, UPLINK, Outside, can_reach

SERVER_PORT = 80
backends = pytest.mark.parametrize("backend", ["iptables", "nftables"])


class Jobs:
    """Network `jobs`, of whose containers each has a port that the host chooses.

    Args:
        shibafu: the command.
        backend: of masquerading and published ports.
    """

    def __init__(self, shibafu: CommandLine, backend: str) -> None:
        self._shibafu = shibafu
        bridge = {
            "type": "bridge",
            "bridge": "jobs0",
            "isDefaultGateway": True,
            "ipMasq": True,
            "ipMasqBackend": backend,
            "macspoofchk": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.69.0.0/24"}]]},
        }
        portmap = {
            "type": "portmap",
            "backend": backend,
            "runtimeConfig": {"portMappings": [publish(0, SERVER_PORT)]},
        }
        firewall = {"type": "firewall", "ingressPolicy": "isolated"}
        conflist = {"cniVersion": "1.1.0", "name": "jobs", "plugins": [bridge, portmap, firewall]}
        (shibafu.conf_dir / "10-jobs.conflist").write_text(dumps(conflist))

    def connect(self, container: Namespace) -> Any:
        """Attach a container; return what the plugins have answered."""
        return self._shibafu.json(f"network connect jobs {container.name}")["result"]


@pytest.fixture
def others() -> Iterator[list[Namespace]]:
    with Namespace("db") as db, Namespace("late") as late:
        yield [db, late]


@pytest.fixture
def outside(host: Namespace) -> Iterator[Outside]:
    made = Outside(host)
    yield made
    made.close()


def is_published(container: Namespace, result: Any, outside: Outside) -> bool:
    """Return whether a client outside reaches a container by its port of the host."""
    port = result["portMappings"][0]["hostPort"]
    server, client = (find_address(result), SERVER_PORT), (UPLINK[4], port)
    return reaches(container, server, outside.namespace, client, patience=1) == OUTSIDE[4]


def find_address(result: Any) -> str:
    """Return the address of a container with one."""
    ((address, _, _),) = (ip["address"].partition("/") for ip in result["ips"])
    return str(address)


@backends
def test_a_new_container_does_without_what_was_removed(
    shibafu: CommandLine,
    host: Namespace,
    web: Namespace,
    others: list[Namespace],
    outside: Outside,
    backend: str,
) -> None:
    (db, late), jobs = others, Jobs(shibafu, backend)
    results = {container: jobs.connect(container) for container in (web, db)}
    shibafu("network pause jobs")
    host.run("ip", "link", "del", "jobs0")
    host.run("nft", "flush", "ruleset")
    results[late] = jobs.connect(late)
    assert "jobs0" not in host.run("ip", "link")
    rules = host.run("nft", "list", "ruleset")
    for container in (web, db):
        assert calc_host_veth("jobs", container.name, "eth0") not in rules
        assert find_address(results[container]) not in rules
    assert "masquerade" not in rules.lower()
    shibafu("network resume jobs")
    shibafu("network check jobs")
    assert shibafu.json("network repair --dry-run")["faults"] == []
    for container, result in results.items():
        assert is_published(container, result, outside)
    assert not can_reach(web, find_address(results[web]), db)


@backends
def test_a_new_container_has_what_is_there(
    shibafu: CommandLine, web: Namespace, others: list[Namespace], outside: Outside, backend: str
) -> None:
    (_, late), jobs = others, Jobs(shibafu, backend)
    jobs.connect(web)
    shibafu("network pause jobs")
    result = jobs.connect(late)
    assert is_published(late, result, outside)
    shibafu("network check jobs")
    assert shibafu.json("network resume jobs")["faults"] == []
