"""Transactions whose programs have nothing left to do but to wait for the kernel."""

import os
import sys
from collections.abc import Mapping

import pytest

from shibafu.lean.subprocess import find_program
from shibafu.netfilter import restore
from shibafu.netfilter.commits import Commits
from support.namespaces import Namespace
from support.waiting import wait_for

_RULE = "FORWARD -s 192.0.2.1/32 -j ACCEPT"
_ENV: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin"}


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def list_descriptors() -> list[str]:
    """Return what this process has open."""
    with os.scandir("/proc/self/fd") as entries:
        return [os.readlink(entry.path) for entry in entries if os.path.lexists(entry.path)]


def remove_rule(host: Namespace) -> int:
    """Remove a rule in a transaction, and return the process that has done so."""
    host.run("iptables", "-A", *_RULE.split())
    program = find_program("iptables-restore", "")
    assert program is not None
    commits = Commits({4: program}, _ENV)
    with host.enter():
        assert commits.run({4: f"*filter\n-D {_RULE}\nCOMMIT\n"}) == []
    assert "192.0.2.1" not in host.run("iptables", "-S")
    (pid,) = commits.pids
    return pid


def test_in_the_engine_no_program_waits_with_the_lock_of_nf_tables(
    host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it does, nobody can delete a link; it ends when the kernel has no reason any more to wait."""
    monkeypatch.setattr(sys, "shibafu_resident", True, raising=False)
    monkeypatch.setattr(restore, "_REST", 0.5)  # for as long as it takes to look
    pid = remove_rule(host)
    its_input = os.readlink(f"/proc/{pid}/fd/0")
    assert its_input in list_descriptors(), "it has more to read"
    wait_for(lambda: has_ended(pid))
    assert os.waitpid(pid, 0)[1] == 0


def test_elsewhere_it_ends_at_once(host: Namespace) -> None:
    pid = remove_rule(host)
    assert os.waitpid(pid, 0)[1] == 0
