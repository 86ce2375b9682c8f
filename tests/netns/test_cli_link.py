"""`shibafu link`: pieces of networks by hand."""

from json import loads

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach

NOTHING = "nothing to do\n"


def test_a_network_by_hand(shibafu: CommandLine, host: Namespace, container: Namespace) -> None:
    """Each line does its work once, and nothing the second time."""
    lines = [
        "link create-bridge br0 --mtu 1400",
        f"link create-veth veth-web eth0 --netns {container.name} --bridge br0",
        "link addr br0 10.66.0.1/24 fd66::1/64",
        f"link addr eth0 10.66.0.2/24 --netns {container.name}",
    ]
    for line in lines:
        assert shibafu(line).startswith("+ ")
    assert can_reach(container, "10.66.0.2", host)
    for line in lines:
        assert shibafu(line) == NOTHING
    for name in ("veth-web", "br0"):
        assert shibafu(f"link rm {name}") == f"+ ip link del dev {name}\n"
        assert shibafu(f"link rm {name}") == NOTHING
    assert names(container) == {"lo"}


def names(namespace: Namespace) -> set[str]:
    return {link["ifname"] for link in loads(namespace.run("ip", "-j", "link"))}


def test_what_it_prints_does_the_same(shibafu: CommandLine, host: Namespace, container: Namespace) -> None:
    lines = []
    for line in (
        "create-bridge br0",
        f"create-veth a b --netns {container.name} --bridge br0",
        "addr br0 10.1.0.1/24",
    ):
        lines += shibafu.json(f"link {line}")["commands"]
    before = names(host)
    shibafu("link rm a")
    shibafu("link rm br0")
    for line in lines:
        host.run(*line.split())
    assert names(host) == before
    assert "10.1.0.1/24" in host.run("ip", "addr", "show", "br0")


def test_a_link_moves(shibafu: CommandLine, host: Namespace, container: Namespace) -> None:
    shibafu("link create-veth a b")
    assert shibafu(f"link move b {container.name}") == f"+ ip link set dev b netns {container.path}\n"
    assert shibafu(f"link move b {container.path}") == NOTHING
    assert names(container) == {"lo", "b"}


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("link create-bridge averyveryverylong", 2, "15 characters (IFNAMSIZ)"),
        ("link create-bridge lo", 1, "the loopback link, not a bridge"),
        ("link create-veth a a", 2, "cannot have the same name"),
        ("link create-veth lo x", 1, "whose other end is not x"),
        ("link create-veth c d --bridge nope", 1, "there is no link nope"),
        ("link create-veth c d --netns nope", 1, "`ip netns add NAME` creates one"),
        ("link move br0 {container}", 1, "cannot leave the namespace it was created in"),
        ("link move nope {container}", 1, "neither here nor in"),
        ("link move lo 99999999", 1, "there is no process 99999999"),
        ("link addr br0 10.1.0.1", 2, "write 10.1.0.1/24 for example"),
        ("link addr nope 10.1.0.1/24", 1, "existing links: br0, lo"),
        ("link rm lo", 1, "cannot be removed"),
    ],
)
def test_refusals_teach(
    shibafu: CommandLine, host: Namespace, container: Namespace, line: str, status: int, said: str
) -> None:
    host.run("ip", "link", "add", "br0", "type", "bridge")
    answer = shibafu.fail(line.format(container=container.name), status)
    assert said in " ".join(answer.split())
