"""shibafu-portmap: what reaches a published port, with both families, backends and variants of iptables."""

import os
import socket
import threading
from contextlib import suppress

import pytest

from netns.portmap.places import (
    GATEWAY,
    INSIDE,
    SECOND,
    SECOND_INTERFACE,
    assert_gone,
    families,
    protocols,
)
from shibafu.netlink.conntrack import NETLINK_NETFILTER, flow_list
from shibafu.netlink.socket import NetlinkSocket
from support.machine import Config, Machine
from support.published import UDP, Publisher, publish, reaches
from support.traffic import OUTSIDE, UPLINK, Outside, open_socket


@pytest.mark.parametrize("machine", ["legacy"], indirect=True)
def test_the_legacy_variant(publisher: Publisher, config: Config, outside: Outside) -> None:
    """The rest of what it does takes longer than the usual suite has."""
    machine = publisher.machine
    result = machine.add(config)
    mappings = [publish(8080, 80), publish(5353, 53, "udp")]
    publisher.call("ADD", *mappings, previous=result)
    for version in (4, 6):
        for inner, outer, protocol in ((80, 8080, "tcp"), (53, 5353, "udp")):
            server, place = (INSIDE[version], inner), (UPLINK[version], outer)
            seen = reaches(machine.container(), server, outside.namespace, place, protocol)
            assert seen == OUTSIDE[version]
    publisher.call("CHECK", *mappings, previous=result)
    publisher.call("DEL", *mappings, previous=result)
    machine.delete(config)
    assert_gone(machine)


class TestTraffic:
    @families
    @protocols
    def test_from_outside(
        self, publisher: Publisher, config: Config, outside: Outside, version: int, protocol: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        container = machine.container()
        server, place = (INSIDE[version], 80), (UPLINK[version], 8080)
        assert reaches(container, server, outside.namespace, place, protocol, patience=0.3) == ""
        mapping = publish(8080, 80, protocol)
        assert publisher.call("ADD", mapping, previous=result) == result
        # The client's own address: nothing that is not needed is masqueraded.
        assert reaches(container, server, outside.namespace, place, protocol) == OUTSIDE[version]
        assert publisher.call("CHECK", mapping, previous=result) is None
        assert publisher.call("DEL", mapping, previous=result) is None
        assert reaches(container, server, outside.namespace, place, protocol, patience=0.3) == ""
        machine.delete(config)
        assert_gone(machine)

    @families
    @protocols
    def test_from_the_host(self, publisher: Publisher, config: Config, version: int, protocol: str) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80, protocol), previous=result)
        container, server = machine.container(), (INSIDE[version], 80)
        assert reaches(container, server, machine.host, (GATEWAY[version], 8080), protocol)
        if version == 4:
            for loopback in ("127.0.0.1", "127.1.2.3"):
                assert reaches(container, server, machine.host, (loopback, 8080), protocol) == GATEWAY[4]

    @families
    @protocols
    @pytest.mark.parametrize("is_seen", [False, True], ids=["switched", "br_netfilter"])
    def test_from_containers(
        self, publisher: Publisher, config: Config, version: int, protocol: str, is_seen: bool
    ) -> None:
        """A neighbour, and the container itself, by an address of the host."""
        machine = publisher.machine
        switch = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}[version]
        if is_seen and not os.path.exists(f"/proc/sys/net/bridge/{switch}"):
            pytest.skip("br_netfilter is not loaded")
        machine.host.run(
            "sysctl", "-qw", *([f"net.bridge.{switch}=1"] if is_seen else ["net.ipv4.ip_forward=1"])
        )
        result = machine.add(config)
        machine.add(config, "c2")
        publisher.call("ADD", publish(8080, 80, protocol), previous=result)
        container, server = machine.container(), (INSIDE[version], 80)
        for client in (machine.container("c2"), container):
            assert reaches(container, server, client, (GATEWAY[version], 8080), protocol)

    @families
    def test_of_another_network(self, publisher: Publisher, config: Config, version: int) -> None:
        machine = publisher.machine
        other = machine.config("10.20.0.0/24", "fd00:20::/64", name="other", bridge="br1", ipMasq=False)
        result = machine.add(config)
        machine.add(other, "c2")
        publisher.call("ADD", publish(8080, 80), previous=result)
        source = reaches(
            machine.container(), (INSIDE[version], 80), machine.container("c2"), (GATEWAY[version], 8080)
        )
        assert source == {4: "10.20.0.2", 6: "fd00:20::2"}[version]

    @families
    @pytest.mark.parametrize("snat", [True, False])
    def test_masq_all(
        self, publisher: Publisher, config: Config, outside: Outside, version: int, snat: bool
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        publisher.call("ADD", publish(8080, 80), previous=result, masqAll=True, snat=snat)
        source = reaches(
            machine.container(), (INSIDE[version], 80), outside.namespace, (UPLINK[version], 8080)
        )
        assert source == GATEWAY[version]

    def test_without_snat(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        machine = publisher.machine
        result = machine.add(config)
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, snat=False)
        container, server = machine.container(), (INSIDE[4], 80)
        assert reaches(container, server, outside.namespace, (UPLINK[4], 8080)) == OUTSIDE[4]
        assert reaches(container, server, machine.host, ("127.0.0.1", 8080), patience=0.3) == ""
        assert publisher.call("CHECK", mapping, previous=result, snat=False) is None


class TestSeveralNetworks:
    @pytest.fixture
    def second(self, machine: Machine, config: Config) -> Config:
        """A container on two networks; the first has its default route, and the second publishes a port."""
        machine.host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        machine.add(config)
        keys = {"name": "second", "bridge": "br1", "isDefaultGateway": None, "isGateway": True}
        return machine.config("10.20.0.0/24", "fd00:20::/64", ipMasqBackend=machine.backend, **keys)

    @families
    @protocols
    def test_answers_leave_by_the_one_that_was_asked(
        self, publisher: Publisher, second: Config, outside: Outside, version: int, protocol: str
    ) -> None:
        machine = publisher.machine
        result = machine.add(second, ifname="eth1")
        mapping, names = publish(8080, 80, protocol), SECOND_INTERFACE
        publisher.call("ADD", mapping, previous=result, **names)
        container = machine.container()
        inside, place = {4: "10.20.0.2", 6: "fd00:20::2"}[version], (UPLINK[version], 8080)
        source = reaches(container, (inside, 80), outside.namespace, place, protocol)
        assert source == OUTSIDE[version]
        assert publisher.call("CHECK", mapping, previous=result, **names) is None
        before = machine.routes(container, f"-{version}", "rule")
        publisher.call("DEL", **names)
        left = machine.routes(container, f"-{version}", "rule")
        assert len(left) == len(before) - 1
        assert not [rule for rule in left if rule["src"] != "all"]

    def test_check_names_a_rule_that_is_missing(self, publisher: Publisher, second: Config) -> None:
        machine = publisher.machine
        result = machine.add(second, ifname="eth1")
        mapping, names = publish(8080, 80), SECOND_INTERFACE
        publisher.call("ADD", mapping, previous=result, **names)
        machine.container().run("ip", "rule", "del", "from", "10.20.0.2")
        error = publisher.call("CHECK", mapping, previous=result, status=1, **names)
        assert "answers from 10.20.0.2" in error["msg"]

    def test_a_container_of_one_network_has_no_rules(self, publisher: Publisher, config: Config) -> None:
        machine = publisher.machine
        publisher.call("ADD", publish(8080, 80), previous=machine.add(config))
        rules = machine.routes(machine.container(), "rule")
        assert not [rule for rule in rules if rule["src"] != "all"]


class TestConditions:
    @families
    def test_only_some_sources(
        self, publisher: Publisher, config: Config, outside: Outside, version: int
    ) -> None:
        machine = publisher.machine
        result = machine.add(config)
        family = {4: "ip", 6: "ip6"}[version]
        words = {
            "iptables": ["!", "-s", OUTSIDE[version]],
            "nftables": [family, "saddr", "!=", OUTSIDE[version]],
        }[publisher.backend]
        key: Config = {f"conditionsV{version}": words}
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, **key)
        container, server = machine.container(), (INSIDE[version], 80)
        place = (UPLINK[version], 8080)
        assert reaches(container, server, outside.namespace, place, patience=0.3) == ""
        assert reaches(container, server, machine.host, place)
        other = 10 - version
        assert reaches(container, (INSIDE[other], 80), outside.namespace, (UPLINK[other], 8080))
        assert publisher.call("CHECK", mapping, previous=result, **key) is None
        publisher.call("DEL")
        machine.delete(config)
        assert_gone(machine)

    def test_a_chain_of_others_marks(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        machine = publisher.machine
        if publisher.backend == "nftables":
            pytest.skip("a key of iptables")
        result = machine.add(config)
        for family in ("iptables", "ip6tables"):
            machine.iptables("-t nat -N KUBE-MARK-MASQ", family=family)
            machine.iptables("-t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000", family=family)
            machine.iptables(
                "-t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE", family=family
            )
        keys: Config = {"externalSetMarkChain": "KUBE-MARK-MASQ"}
        mapping = publish(8080, 80)
        publisher.call("ADD", mapping, previous=result, **keys)
        container, server = machine.container(), (INSIDE[4], 80)
        assert reaches(container, server, outside.namespace, (UPLINK[4], 8080)) == OUTSIDE[4]
        assert reaches(container, server, machine.host, ("127.0.0.1", 8080)) == GATEWAY[4]
        assert publisher.call("CHECK", mapping, previous=result, **keys) is None


class TestConnections:
    def test_a_client_that_goes_on_sending_gets_to_the_container(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        """Its packets belong to a connection with the host until that is forgotten."""
        machine = publisher.machine
        result = machine.add(config)
        machine.iptables("-I INPUT -m conntrack --ctstate NEW -j ACCEPT")
        with (
            open_socket(machine.container(), 4, UDP) as server,
            open_socket(outside.namespace, 4, UDP) as client,
        ):
            server.bind((INSIDE[4], 53))
            client.bind((OUTSIDE[4], 5555))
            client.sendto(b"early", (UPLINK[4], 5353))
            publisher.call("ADD", publish(5353, 53, "udp"), previous=result)
            client.sendto(b"late", (UPLINK[4], 5353))
            assert server.recvfrom(16) == (b"late", (OUTSIDE[4], 5555))

    def test_a_client_that_goes_on_sending_gets_to_the_next_container(
        self, publisher: Publisher, config: Config, outside: Outside
    ) -> None:
        machine = publisher.machine
        results = [machine.add(config, name) for name in ("c1", "c2")]
        mapping = publish(5353, 53, "udp")
        with (
            open_socket(machine.container("c1"), 4, UDP) as first,
            open_socket(machine.container("c2"), 4, UDP) as second,
            open_socket(outside.namespace, 4, UDP) as client,
        ):
            first.bind((INSIDE[4], 53))
            second.bind((SECOND[4], 53))
            client.bind((OUTSIDE[4], 5555))
            publisher.call("ADD", mapping, previous=results[0])
            client.sendto(b"one", (UPLINK[4], 5353))
            assert first.recvfrom(16)[0] == b"one"
            publisher.call("DEL", mapping)
            publisher.call("ADD", mapping, previous=results[1], container="c2")
            client.sendto(b"two", (UPLINK[4], 5353))
            assert second.recvfrom(16) == (b"two", (OUTSIDE[4], 5555))

    def test_connections_of_others_stay(self, publisher: Publisher, config: Config, outside: Outside) -> None:
        """Containers ask a server beyond the host at the same port number."""
        machine = publisher.machine
        result = machine.add(config)
        with (
            open_socket(outside.namespace, 4, UDP) as server,
            open_socket(machine.container(), 4, UDP) as client,
        ):
            server.bind((OUTSIDE[4], 53))
            client.sendto(b"ask", (OUTSIDE[4], 53))
            _, source = server.recvfrom(16)
            publisher.call("ADD", publish(53, 53, "udp"), previous=result)
            server.sendto(b"answer", source)
            assert client.recv(16) == b"answer"


@families
def test_a_client_that_goes_on_sending_is_forgotten_with_the_port(
    publisher: Publisher, config: Config, outside: Outside, version: int
) -> None:
    """Its next packet, before the rules are gone, would be the first one of another such connection."""
    machine = publisher.machine
    publisher.call("ADD", publish(5353, 53, "udp"), previous=machine.add(config))
    place = UPLINK[version], 5353
    assert reaches(machine.container(), (INSIDE[version], 53), outside.namespace, place, "udp")
    is_over = threading.Event()

    def send() -> None:
        with open_socket(outside.namespace, version, UDP) as client:
            while not is_over.is_set():
                with suppress(ConnectionError):  # nobody listens there
                    client.sendto(b"again", place)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        publisher.call("DEL")
    finally:
        is_over.set()
        sender.join()
    with machine.host.enter(), NetlinkSocket(protocol=NETLINK_NETFILTER) as sock:
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        answerers = [flow.answerer for flow in flow_list(sock, family, socket.IPPROTO_UDP, port=5353)]
    assert socket.inet_pton(family, INSIDE[version]) not in answerers
