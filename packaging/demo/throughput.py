"""Measure how fast packets of a TCP connection arrive.

    throughput.py receive PORT
    throughput.py send ADDRESS PORT

The receiver accepts one connection and prints Mbit/s; then both end. What arrives first is not counted,
because a limit lets a burst through at once.
"""

import socket
import sys
import time
from pathlib import Path

# What this process has read would be less exact: after a loss, TCP holds back what follows.
COUNTER = Path("/sys/class/net/eth0/statistics/rx_bytes")
PATIENCE = 5  # seconds
WARM_UP = 0.5
DURATION = 1.5


def receive(port: int) -> None:
    """Print how many bits eth0 receives in a microsecond."""
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(PATIENCE)
        connection, _ = server.accept()
    with connection:
        connection.settimeout(PATIENCE)
        drain(connection, WARM_UP)
        start, before = time.monotonic(), int(COUNTER.read_text())
        drain(connection, DURATION)
        duration, received = time.monotonic() - start, int(COUNTER.read_text()) - before
    print(f"{received * 8 / duration / 1e6:.1f}")


def drain(connection: socket.socket, duration: float) -> None:
    """Read what arrives for so many seconds."""
    deadline = time.monotonic() + duration
    while time.monotonic() < deadline:
        connection.recv(1 << 18)


def send(address: str, port: int) -> None:
    """Send until the receiver ends, which may not have started yet."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=PATIENCE)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    data = bytes(1 << 16)
    with connection:
        try:
            while True:
                connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass


def main() -> None:
    """Receive or send."""
    if sys.argv[1] == "receive":
        receive(int(sys.argv[2]))
    else:
        send(sys.argv[2], int(sys.argv[3]))


if __name__ == "__main__":
    main()
