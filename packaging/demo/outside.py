"""The outside world of the demo: tells each client which address it sees.

    outside.py PORT

Listens on TCP, for both families.
"""

import socket
import sys


def main() -> None:
    """Answer until killed."""
    with socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        while True:
            connection, peer = server.accept()
            with connection:
                connection.sendall(peer[0].removeprefix("::ffff:").encode() + b"\n")


if __name__ == "__main__":
    main()
