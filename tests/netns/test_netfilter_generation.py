"""The generation of nf_tables: who has raised it since it was asked for."""

import subprocess
from collections.abc import Iterator

import pytest

from shibafu.netfilter.generation import GenerationWatch
from support.namespaces import Namespace


@pytest.fixture
def watch(host: Namespace) -> Iterator[GenerationWatch]:
    with host.enter():
        made = GenerationWatch()
    yield made
    made.close()


def change(host: Namespace, text: str) -> int:
    """Make a transaction; return the process that made it."""
    argv = ["/usr/bin/nsenter", f"--net={host.path}", "/usr/sbin/nft", text]
    with subprocess.Popen(argv) as process:  # nsenter becomes nft
        assert process.wait(10) == 0
    return process.pid


def test_every_transaction_raises_it_and_nothing_else_does(host: Namespace, watch: GenerationWatch) -> None:
    begin = watch.ask()
    assert begin > 0
    change(host, "list ruleset")
    host.run("iptables-nft", "-S")
    assert watch.ask() == begin
    for count, text in enumerate(("add table ip a", "add chain ip a b", "flush ruleset"), 1):
        change(host, text)
        assert watch.ask() == begin + count
    host.run("iptables-nft", "-A", "FORWARD", "-j", "ACCEPT")
    assert watch.ask() > begin + 3


def test_one_s_own_transactions_do_not_count(host: Namespace, watch: GenerationWatch) -> None:
    begin = watch.ask()
    assert watch.ask_again(()) == begin
    own = [change(host, "add table ip a"), change(host, "add table ip b")]
    assert watch.ask_again(own) == begin + 2
    foreign = change(host, "delete table ip a")
    assert foreign not in own
    assert watch.ask_again(own) == 0
    # That was then; nobody has changed anything since.
    assert watch.ask_again(own) == begin + 3


def test_one_foreign_transaction_among_one_s_own(host: Namespace, watch: GenerationWatch) -> None:
    watch.ask()
    own = change(host, "add table ip a")
    change(host, "add table ip b")
    assert change(host, "add table ip c") != own
    assert watch.ask_again([own]) == 0


def test_another_namespace_s_do_not_count(watch: GenerationWatch, container: Namespace) -> None:
    begin = watch.ask()
    change(container, "add table ip a")
    assert watch.ask_again(()) == begin


def test_announcements_that_were_lost(host: Namespace, watch: GenerationWatch) -> None:
    """More than a socket's buffer holds: nothing is known from then on."""
    begin = watch.ask()
    own = change(host, "add table ip a; add chain ip a b")
    rules = "".join(f"add rule ip a b ip saddr 10.0.{i // 250}.{i % 250} accept\n" for i in range(5000))
    argv = ["/usr/bin/nsenter", f"--net={host.path}", "/usr/sbin/nft", "-f", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as process:
        process.communicate(rules, timeout=30)
    assert begin > 0
    assert watch.ask_again([own, process.pid]) == 0
    assert watch.ask() == 0
