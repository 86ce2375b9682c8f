"""Exchanges with the kernel over a NETLINK_ROUTE socket.

The kernel handles a request within the system call that sends it, and queues its answers before that call
returns: reading them does not wait. Only subscribers do, for announcements, and have a time limit.
"""

from _socket import (
    AF_NETLINK,
    CMSG_SPACE,
    MSG_DONTWAIT,
    MSG_TRUNC,
    SO_RCVTIMEO,
    SOCK_CLOEXEC,
    SOCK_RAW,
    SOL_SOCKET,
)
from _socket import socket as _socket
from errno import EBUSY, EINTR, ENOBUFS, ENODEV, ENOPROTOOPT, ETIMEDOUT
from fcntl import ioctl
from struct import Struct, pack

from shibafu.netlink.codec import pack_message, parse_attrs, parse_int, parse_messages, parse_string
from shibafu.netlink.constants import (
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
    NETLINK_LISTEN_ALL_NSID,
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    NLMSGERR_ATTR_MSG,
    SIOCGIFINDEX,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
)
from shibafu.netlink.errors import NetlinkDecodeError, NetlinkError

# A dump comes in datagrams as large as the reader's buffer, up to 32 KiB (netlink_dump in af_netlink.c).
_BUFFER_SIZE = 32768
# Acknowledgements that certainly fit into a receive buffer of the default size (208 KiB, about 1 KiB each).
_BATCH_SIZE = 64
# What a subscriber may leave unread: about a thousand notifications.
_SUBSCRIBER_BUFFER_SIZE = 4 << 20
_DUMP_TRIES = 8
_OPTIONS = (NETLINK_EXT_ACK, NETLINK_CAP_ACK)
_ROUTE_OPTIONS = (*_OPTIONS, NETLINK_GET_STRICT_CHK)
_ERROR = Struct("=i")
_NSID = Struct("=i")
_IFREQ = Struct("16s24x")  # linux/if.h


class NetlinkRequest:
    """A request as data: built now, sent when its turn has come.

    Args:
        kind: RTM_*; becomes `type`.
        flags: NLM_F_CREATE and the like; NLM_F_REQUEST and what the exchange needs are added when sent.
        payload: The type's header and attributes.
        what: The beginning of the sentence that reports a failure: "cannot set veth1a2b up".
        ignore: Error numbers that do not count as a failure of this request.
    """

    __slots__ = ("flags", "ignore", "payload", "type", "what")

    def __init__(
        self, kind: int, flags: int, payload: bytes, what: str = "", ignore: tuple[int, ...] = ()
    ) -> None:
        self.type = kind
        self.flags = flags
        self.payload = payload
        self.what = what
        self.ignore = ignore

    def ignoring(self, *errnos: int) -> "NetlinkRequest":
        """Return the same request, which also treats these error numbers as success."""
        return NetlinkRequest(self.type, self.flags, self.payload, self.what, self.ignore + errnos)


class NetlinkSocket:
    """A netlink socket of the namespace that the process is in when it is opened.

    Args:
        groups: RTMGRP_* to subscribe to.
        timeout: Seconds to wait for an announcement that does not come.
        protocol: NETLINK_*.
    """

    __slots__ = ("_flags", "_port", "_sequence", "_socket")

    def __init__(self, groups: int = 0, timeout: float = 10.0, protocol: int = NETLINK_ROUTE) -> None:
        self._sequence = 0
        # Unknown: what comes to a socket that subscribes to nothing are answers to its requests.
        self._port = 0
        self._flags = MSG_DONTWAIT
        self._socket = _socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
        try:
            for option in _ROUTE_OPTIONS if protocol == NETLINK_ROUTE else _OPTIONS:
                try:
                    self._socket.setsockopt(SOL_NETLINK, option, 1)
                except OSError as error:
                    # Older kernels answer without the texts, and filter less: callers filter again.
                    if error.errno != ENOPROTOOPT:
                        raise
            if groups:
                self._subscribe(groups, timeout)
        except BaseException:
            # `with` does not close what could not be made.
            self._socket.close()
            raise

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def has_link(self, name: str) -> bool:
        """Return whether the socket's namespace has a link of that name; see netdevice(7)."""
        try:
            ioctl(self._socket.fileno(), SIOCGIFINDEX, _IFREQ.pack(name.encode("utf-8", "surrogateescape")))
        except OSError as error:
            if error.errno != ENODEV:
                raise
            return False
        return True

    def read_netns_cookie(self) -> int | None:
        """Return the cookie of the socket's namespace; None before Linux 5.14."""
        # Not at the top: only ADD asks.
        from shibafu.netlink.namespace import read_cookie

        return read_cookie(self._socket)

    def fileno(self) -> int:
        """Return the socket's file descriptor, or -1 when closed."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The number by which announcements say that a request of this socket was their cause."""
        if not self._port:
            if not self._sequence:
                # Otherwise the kernel has done so with the first request.
                self._socket.bind((0, 0))
            self._port = self._socket.getsockname()[0]
        return self._port

    def close(self) -> None:
        """Close the socket. Closing it again does nothing."""
        self._socket.close()

    def receive(self) -> list[tuple[int, int, int, int, bytes]]:
        """Return the messages of one datagram: (type, flags, sequence number, port id, payload).

        Raises:
            NetlinkError: ETIMEDOUT.
            OSError: ENOBUFS if the socket subscribes to more than it reads.
            NetlinkDecodeError: the datagram is truncated or no sequence of messages.
        """
        try:
            return self._receive(self._flags)
        except BlockingIOError:
            raise NetlinkError(ETIMEDOUT, "the kernel did not answer") from None

    def receive_announced(self) -> list[tuple[int, int, int, int, bytes]]:
        """Return the messages of one datagram as `receive` does; an empty list where there is none."""
        try:
            return self._receive(MSG_DONTWAIT)
        except BlockingIOError:
            return []

    def listen_to_peers(self) -> None:
        """Receive announcements of namespaces, too, that links of this one lead to.

        See NETLINK_LISTEN_ALL_NSID in netlink(7): those that this one has numbers of.

        Raises:
            OSError: EPERM: the process lacks CAP_NET_BROADCAST.
        """
        self._socket.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)

    def receive_from_peers(self) -> tuple[int, list[tuple[int, int, int, int, bytes]]] | None:
        """Return a namespace's number, -1 for the socket's own, and its messages as `receive_announced` does.

        None where there is no datagram.
        """
        try:
            datagram, ancillary, flags, _ = self._socket.recvmsg(
                _BUFFER_SIZE, CMSG_SPACE(_NSID.size), MSG_DONTWAIT
            )
        except BlockingIOError:
            return None
        if flags & MSG_TRUNC:
            raise NetlinkDecodeError(f"datagram of more than {len(datagram)} bytes")
        number = -1
        for level, kind, content in ancillary:
            if (level, kind) == (SOL_NETLINK, NETLINK_LISTEN_ALL_NSID):
                (number,) = _NSID.unpack_from(content)
        return number, parse_messages(datagram)

    def _receive(self, flags: int) -> list[tuple[int, int, int, int, bytes]]:
        # Memory of its own each time: of that only as much is touched as there is to read.
        datagram = self._socket.recv(_BUFFER_SIZE, MSG_TRUNC | flags)
        if len(datagram) > _BUFFER_SIZE:
            # As long as it was; its end is not in it.
            raise NetlinkDecodeError(f"datagram of {len(datagram)} bytes")
        return parse_messages(datagram)

    def request(self, request: NetlinkRequest) -> int:
        """Send one request; see `request_all`."""
        return self.request_all([request])[0]

    def request_all(self, requests: list[NetlinkRequest]) -> list[int]:
        """Send requests in one go and wait for all their acknowledgements.

        The kernel carries out every request, also those that follow a failing one.

        Returns:
            For each request 0, or the ignored error number.

        Raises:
            NetlinkError: the first failure.
        """
        results: list[int] = []
        failure: NetlinkError | None = None
        for request, error in zip(requests, self.attempt_all(requests), strict=True):
            if error is None or error.errno in request.ignore:
                results.append(error.errno if error else 0)
            elif failure is None:
                failure = error
        if failure:
            raise failure
        return results

    def attempt_all(self, requests: list[NetlinkRequest]) -> list[NetlinkError | None]:
        """Send requests as `request_all` does, and return the failure of each, or None."""
        failures: list[NetlinkError | None] = []
        for start in range(0, len(requests), _BATCH_SIZE):
            failures += self._exchange(requests[start : start + _BATCH_SIZE])
        return failures

    def get(self, request: NetlinkRequest) -> bytes:
        """Send a request that has one answer, and return the answer's payload.

        Raises:
            NetlinkError: the kernel's refusal.
        """
        sequence = self._send([request], 0)
        while True:
            for kind, flags, number, port, payload in self.receive():
                if number != sequence or self._port not in (0, port):
                    continue
                if kind == NLMSG_ERROR:
                    error = _parse_error(flags, payload, request.what)
                    raise error or NetlinkDecodeError("acknowledgement where an answer was expected")
                return payload

    def find(self, request: NetlinkRequest) -> bytes | None:
        """Send a request that has one answer or none, and return the answer's payload or None.

        Raises:
            NetlinkError: the kernel's refusal.
        """
        sequence = self._send([request], NLM_F_ACK)
        answer = None
        while True:
            for kind, flags, number, port, payload in self.receive():
                if number != sequence or self._port not in (0, port):
                    continue
                if kind != NLMSG_ERROR:
                    answer = payload
                    continue
                error = _parse_error(flags, payload, request.what)
                if error is not None:
                    raise error
                return answer

    def dump(self, request: NetlinkRequest) -> list[bytes]:
        """Send a request for a table, and return the payloads of its entries.

        Raises:
            NetlinkError: the kernel's refusal, or EBUSY if the table changed during each of several dumps.
        """
        for _ in range(_DUMP_TRIES):
            payloads = self._dump_once(request)
            if payloads is not None:
                return payloads
        raise NetlinkError(EBUSY, "the table keeps changing", request.what)

    def _subscribe(self, groups: int, timeout: float) -> None:
        try:
            self._socket.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, _SUBSCRIBER_BUFFER_SIZE)
        except OSError:
            # EPERM in a user namespace: announcements may get lost, which subscribers have to expect anyway.
            pass
        seconds, fraction = divmod(timeout, 1)
        # Not settimeout(): that makes Python poll before each read.
        self._socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack("ll", int(seconds), int(fraction * 1e6)))
        self._socket.bind((0, groups))
        # Announcements repeat the sequence numbers of what caused them, which may be this socket's.
        self._port = self._socket.getsockname()[0]
        self._flags = 0

    def _send(self, requests: list[NetlinkRequest], flags: int) -> int:
        """Send requests with consecutive sequence numbers, and return the first of these."""
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.sendto(
            b"".join(
                [
                    pack_message(
                        request.type, request.flags | NLM_F_REQUEST | flags, first + i, request.payload
                    )
                    for i, request in enumerate(requests)
                ]
            ),
            (0, 0),
        )
        return first

    def _exchange(self, requests: list[NetlinkRequest]) -> list[NetlinkError | None]:
        """Send requests and return the outcome of each."""
        first = self._send(requests, NLM_F_ACK)
        outcomes: dict[int, NetlinkError | None] = {}
        while len(outcomes) < len(requests):
            for kind, flags, number, port, payload in self.receive():
                i = number - first
                # Others are stray: a late answer, or a notification, which repeats its cause's number.
                if kind == NLMSG_ERROR and self._port in (0, port) and 0 <= i < len(requests):
                    outcomes[i] = _parse_error(flags, payload, requests[i].what)
        return [outcomes[i] for i in range(len(requests))]

    def _dump_once(self, request: NetlinkRequest) -> list[bytes] | None:
        """Dump a table once; None if it changed meanwhile.

        It is read to its end in any case: the kernel refuses a new dump before that.
        """
        sequence = self._send([request], NLM_F_DUMP)
        payloads: list[bytes] = []
        consistent = True
        while True:
            try:
                messages = self.receive()
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                consistent = False
                continue
            for kind, flags, number, port, payload in messages:
                if number != sequence or self._port not in (0, port) or kind == NLMSG_NOOP:
                    continue
                if flags & NLM_F_DUMP_INTR or kind == NLMSG_OVERRUN:
                    consistent = False
                if kind == NLMSG_ERROR or (kind == NLMSG_DONE and len(payload) >= _ERROR.size):
                    # Newer kernels put an error that stops a dump into NLMSG_DONE.
                    done = _parse_error(flags, payload, request.what, dump=kind == NLMSG_DONE)
                    if done and done.errno != EINTR:
                        raise done
                    return payloads if consistent and not done else None
                if kind == NLMSG_DONE:
                    return payloads if consistent else None
                payloads.append(payload)


def _parse_error(flags: int, payload: bytes, what: str, dump: bool = False) -> NetlinkError | None:
    """Decode the payload of NLMSG_ERROR or NLMSG_DONE: struct nlmsgerr or an int, and extended attributes.

    Returns:
        None for an acknowledgement.
    """
    if len(payload) < _ERROR.size:
        raise NetlinkDecodeError("acknowledgement without an error number")
    errno = -_ERROR.unpack_from(payload)[0]
    if errno == 0:
        return None
    text = ""
    if flags & NLM_F_ACK_TLVS:
        offset = 4
        if not dump:
            # struct nlmsgerr goes on with the request's header, and with the request if it is not capped.
            offset += 16 if flags & NLM_F_CAPPED else parse_int(payload[4:8], 4) + 3 & ~3
        text = parse_string(parse_attrs(payload, offset).get(NLMSGERR_ATTR_MSG, b""))
    return NetlinkError(errno, text, what)
