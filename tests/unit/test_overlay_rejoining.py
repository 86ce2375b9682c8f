"""What `shibafu overlay rejoin` asks for: who waits for it, and which containers have come since."""

import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from shibafu.overlay.agent_state import read_start_ticks
from shibafu.overlay.rejoining import RejoinRequest, find_leases, make_rejoin_request


def test_who_waits_is_a_process_and_not_a_number() -> None:
    own = make_rejoin_request(new_subnet=True)
    assert own.is_waited_for
    assert not replace(own, start_ticks=own.start_ticks + 1).is_waited_for
    for pid in (0, -1, 1 << 40):
        assert not replace(own, pid=pid).is_waited_for
    # As earlier versions wrote it.
    assert not RejoinRequest(new_subnet=True).is_waited_for


def test_a_command_that_was_killed_waits_no_longer() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        request = RejoinRequest(True, (), (), process.pid, read_start_ticks(process.pid))
        assert request.is_waited_for
        process.kill()
        # Its parent does not know yet.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not request.is_waited_for
    assert not request.is_waited_for


def test_newcomers(tmp_path: Path) -> None:
    subnets: list[IPv4Network | IPv6Network] = [IPv4Network("10.42.7.0/24"), IPv6Network("fd42:0:0:7::/64")]
    stores = [str(tmp_path), str(tmp_path / "absent")]
    for name in ("lock", "last_reserved_ip.0", "10.42.8.2", "10.42.7.2"):
        (tmp_path / name).touch()
    known = find_leases(stores, subnets)
    assert [lease.split()[0] for lease in known] == ["10.42.7.2"]
    request = RejoinRequest(True, tuple(stores), tuple(known))
    assert request.find_newcomers(subnets) == set()
    (tmp_path / "fd42:0:0:7::2").touch()
    assert [lease.split()[0] for lease in request.find_newcomers(subnets)] == ["fd42:0:0:7::2"]
    (tmp_path / "fd42:0:0:7::2").unlink()
    # A container that is gone had it, and another one gets it.
    os.utime(tmp_path / "10.42.7.2", (1, 1))
    assert [lease.split()[0] for lease in request.find_newcomers(subnets)] == ["10.42.7.2"]
