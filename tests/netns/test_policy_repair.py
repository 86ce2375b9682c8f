"""Whatever is taken away of the policies' rules in the kernel: CHECK sees it, and `repair` brings it back."""

from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest
import yaml

from netns.blue_network import BlueNetwork
from netns.policy_cases import block, match, pods, policy
from netns.policy_damage import assert_all_is_brought_back, assert_seen_and_repaired
from netns.walled import REFERENCE
from support.command import CommandLine
from support.traffic import can_reach

# For db, which may connect to web, and not the other way round: chains, sets and maps of each kind.
_POLICY = policy(
    [
        {
            "from": [
                pods(match(app="admin")),
                block("10.66.0.0/24", "10.66.0.2/31"),
                block("fd00::/8", "fd00::/16"),
            ]
        }
    ],
    [{"to": [pods(match(app="web"))]}, {"to": [pods({})], "ports": [{"port": "http"}]}],
    target=match(app="db"),
    namespace="default",
)
_WEB, _DB = "10.66.0.2", "10.66.0.3"


@pytest.fixture(params=["shibafu-bridge", "bridge"])
def restricted(
    request: pytest.FixtureRequest, shibafu: CommandLine, network: BlueNetwork, tmp_path: Path
) -> Iterator[BlueNetwork]:
    """A network with a container that a policy is for, in both directions, and with both families.

    Where the reference's bridge plugin attaches it, its part in the policies is shibafu-firewall's.
    """
    if request.param == "bridge":
        configure_reference(shibafu)
    else:
        shibafu("network create blue --subnet 10.66.0.0/24 --ipv6")
    shibafu(f"network connect blue {network.web.name} --label app=web --named-port http=80/tcp")
    shibafu(f"network connect blue {network.db.name} --label app=db")
    shibafu("policy apply -f -", stdin=yaml.safe_dump(_POLICY))
    yield network
    (tmp_path / "policies" / "applied.json").unlink()
    shibafu("policy apply")


def configure_reference(shibafu: CommandLine) -> None:
    if not REFERENCE.is_dir():
        pytest.skip("needs the reference's plugins")
    shibafu.env["CNI_PATH"] = f"{REFERENCE}:{shibafu.env['CNI_PATH']}"
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd66::/64"}]]}
    bridge = {"type": "bridge", "bridge": "br-blue", "isDefaultGateway": True, "ipam": ipam}
    network = {"cniVersion": "1.0.0", "name": "blue", "plugins": [bridge, {"type": "shibafu-firewall"}]}
    (shibafu.conf_dir / "blue.conflist").write_text(dumps(network))


# Of what can be taken away, the usual suite tries some.
@pytest.mark.parametrize("stride", [30, pytest.param(1, marks=pytest.mark.long)])
def test_what_is_missing_is_seen_and_brought_back(restricted: BlueNetwork, stride: int) -> None:
    assert_all_is_brought_back(restricted, stride)
    restricted.shibafu("network check")
    assert can_reach(restricted.web, _WEB, restricted.db)
    assert not can_reach(restricted.db, _DB, restricted.web)


def test_a_bridge_that_netfilter_does_not_see_is_seen_and_repaired(restricted: BlueNetwork) -> None:
    restricted.host.run("ip", "link", "set", "br-blue", "type", "bridge", "nf_call_iptables", "0")
    assert can_reach(restricted.db, _DB, restricted.web)
    assert_seen_and_repaired(restricted, "bridge")
    assert not can_reach(restricted.db, _DB, restricted.web)
