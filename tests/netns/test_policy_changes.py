"""Policies that change while containers talk, and processes that are killed while they change them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest
import yaml

from netns.policy_cases import Step, match, pods, policy
from netns.policy_crowd import make_crowd, make_crowd_policies
from netns.policy_lab import PolicyLab, calc_expected, make_member
from netns.policy_machine import DB_FROM_WEB, LabelledContainers, apply
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import RulesetListing
from shibafu.policy.compiled import TABLE, Compiled
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.model import PolicySet
from shibafu.policy.policy_documents import parse_policies
from shibafu.policy.policy_table import PolicyTable
from support.policy_evaluator import Document
from support.traffic import open_socket

# x/a is reached by z/a whatever else is allowed, and never by z/b.
A_ONLY = policy([{"from": [pods(match(pod="a"), namespaces=match(**{"kubernetes.io/metadata.name": "z"}))]}])
A_AND_C = policy([*A_ONLY["spec"]["ingress"], {"from": [pods(match(pod="c"))], "ports": [{"port": 80}]}])
_APPLY = """
import os, sys
from shibafu.policy.compiler import compile_policies
from shibafu.policy.enforcement import enforce
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.policy_documents import parse_policies
compiled = compile_policies(parse_policies(sys.stdin.read(), "policies.yaml"))
print("ready", flush=True)
enforce(compiled, HostPolicies(), os.environ)
"""


@pytest.fixture
def lab() -> Iterator[PolicyLab]:
    with PolicyLab() as made:
        yield made


def parse(*policies: Document) -> PolicySet:
    return parse_policies(yaml.safe_dump_all(policies), "policies.yaml")


def load(policies: PolicySet, nft: Nft) -> None:
    """Have the kernel enforce policies for the nine pods and many others."""
    members = [*map(make_member, Step([]).make_cluster().pods), *make_crowd(100)]
    table = PolicyTable(compile_policies(policies), members)
    nft.run(table.render_changes(RulesetListing(nft.list_table(TABLE))))


def test_changes_lose_nothing_and_let_nothing_through(lab: PolicyLab) -> None:
    crowd = make_crowd_policies(200).policies
    sets = [
        PolicySet((*parse(A_ONLY).policies, *crowd[:100])),
        PolicySet((*parse(A_AND_C).policies, *crowd[50:])),
    ]
    with lab.host.enter():
        nft = Nft(os.environ)
        load(sets[0], nft)
        with Callers(lab) as callers:
            for number in range(8):
                load(sets[number % 2], nft)
            while callers.answered < 200:
                time.sleep(0.01)
    assert (callers.lost, callers.let_through) == (0, 0)


class Callers:
    """z/a, which sends from another port each time, and z/b, which is denied, to x/a's port 80."""

    def __init__(self, lab: PolicyLab) -> None:
        self.answered = self.lost = self.let_through = 0
        self._lab = lab
        self._is_over, self._is_closed = Event(), Event()
        self._threads = [Thread(target=self._call, args=(name,)) for name in ("z/a", "z/b")]
        self._server = Thread(target=self._serve)
        # There before anybody sends.
        self._socket = lab.open_socket("x/a", 5000)

    def __enter__(self) -> "Callers":
        for thread in (self._server, *self._threads):
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        # Not before all have had their answers.
        self._is_closed.set()
        self._server.join()
        self._socket.close()

    def _serve(self) -> None:
        self._socket.settimeout(0.2)
        while not self._is_closed.is_set():
            try:
                data, source = self._socket.recvfrom(64)
            except TimeoutError:
                continue
            self._socket.sendto(data, source)

    def _call(self, name: str) -> None:
        patience = 2.0 if name == "z/a" else 0.02
        while not self._is_over.is_set():
            with self._lab.open_socket(name) as talker:
                talker.settimeout(patience)
                talker.sendto(b"x", (self._lab.address("x/a"), 5000))
                try:
                    talker.recv(16)
                except TimeoutError:
                    self.lost += name == "z/a"
                else:
                    self.answered += name == "z/a"
                    self.let_through += name == "z/b"


def test_a_stream_between_neighbours_goes_on(cluster: LabelledContainers) -> None:
    """TCP over IPv6 on one bridge, while policies come that deny it, and go."""
    deny = policy([], [], target={}, namespace="default")
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db", "web")
    server, client = map(cluster.machine.container, ("db", "web"))
    address = cluster.addresses["db"][1]
    with (
        open_socket(server, 6, socket.SOCK_STREAM) as listener,
        open_socket(client, 6, socket.SOCK_STREAM) as talker,
    ):
        listener.bind((address, 0))
        listener.listen()
        talker.connect(listener.getsockname()[:2])
        accepted, _ = listener.accept()
        accepted.settimeout(5)
        with accepted, Echo(talker, accepted) as echo:
            for number in range(6):
                apply(cluster.machine, (deny, DB_FROM_WEB)[number % 2])
                echo.wait_for_more()
            apply(cluster.machine, deny)
            assert cluster.reaches("web", "db") == [False, False]
            echo.wait_for_more()


class Echo:
    """A stream whose ends answer each other all the time."""

    def __init__(self, *ends: socket.socket) -> None:
        self._ends = ends
        self._rounds = 0
        self._is_over = Event()
        self._thread = Thread(target=self._talk)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _talk(self) -> None:
        one, other = self._ends
        while not self._is_over.wait(0.001):
            for sender, receiver in ((one, other), (other, one)):
                sender.sendall(b"x")
                if receiver.recv(1) != b"x":
                    return
            self._rounds += 1

    def wait_for_more(self) -> None:
        """Wait until there have been more answers than when this was called."""
        before, deadline = self._rounds, time.monotonic() + 60
        while self._rounds < before + 3:
            assert time.monotonic() < deadline, "the stream has come to a halt"
            time.sleep(0.001)


def test_what_is_open_stays_so(lab: PolicyLab) -> None:
    """Policies are about new connections."""
    with lab.host.enter():
        load(parse(A_ONLY), Nft(os.environ))
    with lab.open_socket("x/a", 5000) as server, lab.open_socket("z/a") as talker:
        for one in (server, talker):
            one.settimeout(5)
        talker.sendto(b"1", (lab.address("x/a"), 5000))
        source = server.recvfrom(16)[1]
        with lab.host.enter():
            load(parse(policy([], [])), Nft(os.environ))
        server.sendto(b"2", source)
        assert talker.recv(16) == b"2"
        talker.sendto(b"3", (lab.address("x/a"), 5000))
        assert server.recv(16) == b"3"
    expected = calc_expected(Step([policy([], [])]).make_cluster())
    assert lab.probe(expected) == expected


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.008, 0.016, 0.032, 0.064, 1.0])
def test_killed_while_applying(lab: PolicyLab, delay: float) -> None:
    """The kernel has the former rules or the new ones, and the next call makes all of it right."""
    before, after = (
        yaml.safe_dump_all([one, *_list_fillers(number)]) for number, one in enumerate((A_ONLY, A_AND_C))
    )
    with lab.host.enter():
        policies, nft = HostPolicies(), Nft(os.environ)
        tables = []
        try:
            for text in (after, before):
                enforce(compile_policies(parse_policies(text, "policies.yaml")), policies, os.environ)
                tables.append(nft.list_table(TABLE))
            _kill(after, delay)
            with policies.lock():  # nft holds it until it has ended
                listed = RulesetListing(nft.list_table(TABLE))
            assert _summarize(listed) in [_summarize(RulesetListing(text)) for text in tables]
            enforce(compile_policies(parse_policies(after, "policies.yaml")), policies, os.environ)
            assert _summarize(RulesetListing(nft.list_table(TABLE))) == _summarize(RulesetListing(tables[0]))
        finally:
            enforce(Compiled(), policies, os.environ)


def _kill(text: str, delay: float) -> None:
    """Apply policies in a process that is killed some seconds after it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", _APPLY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.close()
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.kill()


def _list_fillers(number: int) -> list[Document]:
    """Return policies that make a difference take its time."""
    return [
        policy([{"from": [pods(match(app=f"app{n}-{number}"))]}], target=match(pod="b"), name=f"filler{n}")
        for n in range(60)
    ]


def _summarize(listing: RulesetListing) -> object:
    return listing.chains, listing.sets


@pytest.mark.long
def test_a_thousand_policies_are_quick(lab: PolicyLab) -> None:
    """The fastest of several is compared: others use the machine, too."""
    policies, members = make_crowd_policies(1000), make_crowd(500)

    def change(wanted: PolicySet, present: str) -> float:
        start = time.monotonic()
        table = PolicyTable(compile_policies(wanted), members)
        nft.run(table.render_changes(RulesetListing(present or nft.list_table(TABLE))))
        return time.monotonic() - start

    with lab.host.enter():
        nft = Nft(os.environ)
        spans = []
        for _ in range(3):
            nft.run(f"add table {TABLE}\ndelete table {TABLE}\n")
            spans.append(change(policies, ""))
        assert min(spans) < 2
        fewer = PolicySet(policies.policies[1:])
        assert min(change(one, "") for one in (fewer, policies, fewer, policies)) < 1


@pytest.mark.long
def test_the_first_packet_costs_the_same(lab: PolicyLab) -> None:
    """A packet meets the rules that are for its two ends, however many policies there are."""
    tables = {
        "none": PolicyTable(Compiled(), []),
        "many": PolicyTable(
            compile_policies(PolicySet((*parse(A_ONLY).policies, *make_crowd_policies(1000).policies))),
            [*map(make_member, Step([]).make_cluster().pods), *make_crowd(500)],
        ),
    }
    best: dict[str, float] = {}
    with lab.host.enter():
        for _ in range(4):
            for name, table in tables.items():
                Nft(os.environ).run(table.render_whole())
                best[name] = min(best.get(name, 1.0), _measure(lab))
    assert best["many"] <= 1.3 * best["none"], best


def _measure(lab: PolicyLab) -> float:
    """Return the seconds that a first packet takes to go from z/a to x/a: the median of many."""
    spans = []
    for _ in range(3000):
        with lab.open_socket("z/a") as talker:
            talker.connect((lab.address("x/a"), 9))
            start = time.perf_counter()
            talker.send(b"x")
            spans.append(time.perf_counter() - start)
    return sorted(spans)[len(spans) // 2]
