"""Whether a member of etcd speaks TLS where its endpoint says http, or the other way round.

In both cases etcd ends the connection without a word: its listener looks at the first bytes.
"""

import socket
import ssl
from urllib.parse import urlsplit

# Seconds for each step of it.
_PATIENCE = 2.0


def find_spoken_scheme(endpoint: str) -> str:
    """Return `http` or `https` where a member speaks that instead of what its endpoint says; else nothing.

    Args:
        endpoint: see `require_endpoint`.
    """
    parts = urlsplit(endpoint)
    speaks, other = (_speaks_tls, "https") if parts.scheme == "http" else (_speaks_plainly, "http")
    try:
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), _PATIENCE) as sock:
            return other if speaks(sock) else ""
    except OSError:
        return ""


def _speaks_tls(sock: socket.socket) -> bool:
    """Return whether a handshake begins; nobody is identified, as nothing is sent afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(sock).close()
    except ssl.SSLError as error:
        # It wants a certificate, or another version.
        return "ALERT" in (error.reason or "")
    return True


def _speaks_plainly(sock: socket.socket) -> bool:
    """Return whether a request is answered; a server of TLS, too, may say without TLS that it is one."""
    sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
    return sock.recv(64).split(b" ")[1:2] == [b"200"]
