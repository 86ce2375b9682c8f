"""Calls over the system's D-Bus: the part of its protocol by which one asks a service something.

All that is sent are strings, and what is looked at of an answer is a string or a boolean. See "D-Bus
Specification", sections "Message Protocol" and "Authentication Protocol".
"""

import os
from _socket import AF_UNIX, SOCK_STREAM, socket

from shibafu.cni.errors import FIREWALL, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = "DBUS_SYSTEM_BUS_ADDRESS"
_DEFAULT = "unix:path=/var/run/dbus/system_bus_socket"
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
# Seconds: firewalld, which is asked, takes the longest for its rules.
_PATIENCE = 30.0
# Message types and header fields.
_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_LARGEST = 1 << 20


class BusError(Exception):
    """What a service has answered in place of what it was asked for: the error's name and its text."""


class SystemBus:
    """A connection to the bus.

    Args:
        env: the environment, which may name another bus.

    Raises:
        OSError: there is no bus.
        CniError: it does not let this process in, or does not answer.
    """

    __slots__ = ("_serial", "_socket")

    def __init__(self, env: "Mapping[str, str]") -> None:
        self._serial = 0
        self._socket = socket(AF_UNIX, SOCK_STREAM)
        self._socket.settimeout(_PATIENCE)
        try:
            self._socket.connect(_parse_address(env.get(_VARIABLE) or _DEFAULT))
            self._authenticate()
            self.call(*_BUS, "Hello")
        except BaseException:
            # `with` does not close what could not be opened; Ctrl-C and SIGTERM, too, come while it waits.
            self._socket.close()
            raise

    def __enter__(self) -> "SystemBus":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def has_owner(self, name: str) -> bool:
        """Return whether a service of that name is running."""
        try:
            self.call(*_BUS, "GetNameOwner", name)
        except BusError:
            return False
        return True

    def call(self, destination: str, path: str, interface: str, member: str, *arguments: str) -> str | bool:
        """Call a method and return what it answers: a string, a boolean, or an empty string for the rest.

        Raises:
            BusError: it refuses.
            CniError: the bus does not answer.
        """
        self._serial += 1
        fields = [(_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", member)]
        fields.append((_DESTINATION, "s", destination))
        body = b""
        for argument in arguments:
            body = _align(body, 4) + _pack_string(argument)
        if arguments:
            fields.append((_SIGNATURE, "g", "s" * len(arguments)))
        header = b""
        for code, kind, value in fields:
            text = _pack_signature(value) if kind == "g" else _pack_string(value)
            # A structure of a byte and a variant; a signature of one letter ends where strings may begin.
            header = _align(header, 8) + bytes([code]) + _pack_signature(kind) + text
        start = bytes([ord("l"), _CALL, 0, 1]) + _pack_number(len(body)) + _pack_number(self._serial)
        try:
            self._socket.sendall(_align(start + _pack_number(len(header)) + header, 8) + body)
            return self._wait_for_answer()
        except OSError as error:
            raise CniError(
                FIREWALL, f"the system's D-Bus does not answer: {error}", "see whether dbus is running"
            ) from None

    def _wait_for_answer(self) -> str | bool:
        while True:
            start = self._receive(16)
            order = "little" if start[:1] == b"l" else "big"
            size, length = (int.from_bytes(start[i : i + 4], order) for i in (4, 12))  # type: ignore[arg-type]
            if size > _LARGEST or length > _LARGEST:
                raise OSError("its answer is too long")
            header, body = self._receive(-(-length // 8) * 8)[:length], self._receive(size)
            fields = _parse_fields(header, order)
            if fields.get(_REPLY_SERIAL) != self._serial:
                continue  # a signal
            signature = str(fields.get(_SIGNATURE, ""))
            number = int.from_bytes(body[:4], order) if len(body) >= 4 else 0  # type: ignore[arg-type]
            text = body[4 : 4 + number].decode("utf-8", "replace") if signature.startswith("s") else ""
            if start[1] == _ERROR:
                raise BusError(f"{fields.get(_ERROR_NAME)}: {text}" if text else str(fields.get(_ERROR_NAME)))
            if start[1] == _RETURN:
                return bool(number) if signature == "b" else text

    def _authenticate(self) -> None:
        self._socket.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(os.geteuid()).encode().hex().encode())
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += self._receive(1)
        if not answer.startswith(b"OK "):
            raise CniError(FIREWALL, "the system's D-Bus does not let this user in", _VARIABLE)
        self._socket.sendall(b"BEGIN\r\n")

    def _receive(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self._socket.recv(size - len(content))
            if not piece:
                raise OSError("it has closed the connection")
            content += piece
        return content


def _parse_address(text: str) -> str | bytes:
    """Return where a bus is, out of addresses such as `unix:path=/run/bus;unix:abstract=name`.

    Raises:
        OSError: none of them is a socket of this machine.
    """
    for address in text.split(";"):
        transport, _, pairs = address.partition(":")
        values = dict(pair.partition("=")[::2] for pair in pairs.split(","))
        if transport == "unix" and "path" in values:
            return values["path"]
        if transport == "unix" and "abstract" in values:
            return b"\0" + values["abstract"].encode()
    raise OSError(f"no D-Bus at {text}")


def _parse_fields(header: bytes, order: str) -> dict[int, object]:
    """Return the fields of a message: numbers, and strings of each kind."""
    fields: dict[int, object] = {}
    at = 0
    while at + 4 <= len(header):
        code, kind = header[at], header[at + 2]
        at += 4
        if kind == ord("g"):
            size = header[at]
            fields[code] = header[at + 1 : at + 1 + size].decode()
            at += size + 2
        else:
            number = int.from_bytes(header[at : at + 4], order)  # type: ignore[arg-type]
            at += 4
            fields[code] = number
            if kind in b"so":
                fields[code] = header[at : at + number].decode("utf-8", "replace")
                at += number + 1
        at = -(-at // 8) * 8
    return fields


def _align(content: bytes, size: int) -> bytes:
    return content + bytes(-len(content) % size)


def _pack_number(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _pack_string(text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return _pack_number(len(content)) + content + b"\0"


def _pack_signature(text: str) -> bytes:
    return bytes([len(text)]) + text.encode() + b"\0"
