"""The exchange with a kernel that does what real ones do rarely: interrupt, overflow, send strangers."""

from errno import EBUSY, EEXIST, EINTR, EINVAL, ENOBUFS, ENODEV, EOPNOTSUPP, EPERM, ETIMEDOUT
from struct import pack, unpack_from

import pytest

from shibafu.netlink import constants as c
from shibafu.netlink.codec import attr_string
from shibafu.netlink.errors import NetlinkDecodeError, NetlinkError
from shibafu.netlink.link import ifinfo
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

Answer = bytes | OSError


class ScriptedSocket:
    """In the place of a NetlinkSocket's own socket: takes requests, gives the answers of a script."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, address: tuple[int, int]) -> None:
        assert address == (0, 0)
        self.sent.append(data)

    def recv(self, size: int, flags: int) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer[:size].ljust(len(answer), b"?")

    def close(self) -> None:
        pass


PORT = 4242


def scripted(*answers: Answer) -> tuple[NetlinkSocket, ScriptedSocket]:
    sock = NetlinkSocket()
    sock.close()
    script = ScriptedSocket(*answers)
    sock._socket = script  # type: ignore[assignment]
    sock._port = PORT
    return sock, script


def message(kind: int, sequence: int, payload: bytes = b"", flags: int = 0, port: int = PORT) -> bytes:
    return pack("=IHHII", 16 + len(payload), kind, flags, sequence, port) + payload


def ack(sequence: int, errno: int = 0, text: str = "", port: int = PORT) -> bytes:
    """Return struct nlmsgerr with the request's header only (NETLINK_CAP_ACK)."""
    payload = pack("=i", -errno) + bytes(16)
    flags = c.NLM_F_CAPPED
    if text:
        flags |= c.NLM_F_ACK_TLVS
        payload += attr_string(c.NLMSGERR_ATTR_MSG, text)
    return message(c.NLMSG_ERROR, sequence, payload, flags, port)


def done(sequence: int, errno: int = 0) -> bytes:
    return message(c.NLMSG_DONE, sequence, pack("=i", -errno))


def request(what: str = "cannot do it", ignore: tuple[int, ...] = ()) -> NetlinkRequest:
    return NetlinkRequest(c.RTM_SETLINK, 0, bytes(16), what, ignore)


def test_requests_go_out_together_and_are_numbered() -> None:
    sock, script = scripted(ack(1) + ack(2), ack(3), ack(4))
    assert sock.request_all([request(), request(), request()]) == [0, 0, 0]
    assert sock.request(request()) == 0
    first, second = script.sent
    headers = [unpack_from("=IHHII", first, offset) for offset in (0, 32, 64)]
    assert headers == [(32, c.RTM_SETLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, i, 0) for i in (1, 2, 3)]
    assert unpack_from("=IHHII", second)[3] == 4


def test_nothing_to_request_is_nothing_to_send() -> None:
    sock, script = scripted()
    assert sock.request_all([]) == []
    assert script.sent == []


def test_large_batches_are_split_so_that_their_answers_fit() -> None:
    sock, script = scripted(*(ack(i + 1) for i in range(150)))
    assert sock.request_all([request()] * 150) == [0] * 150
    assert [len(data) // 32 for data in script.sent] == [64, 64, 22]


def test_first_failure_is_raised_after_all_answers_are_read() -> None:
    sock, script = scripted(ack(1), ack(2, EPERM), ack(3, EINVAL), ack(4))
    with pytest.raises(NetlinkError, match=r"^cannot b: operation not permitted$") as caught:
        sock.request_all([request("cannot a"), request("cannot b"), request("cannot c"), request("cannot d")])
    assert caught.value.errno == EPERM
    assert script.answers == []


def test_ignored_errors_are_returned() -> None:
    sock, _ = scripted(ack(1, EEXIST), ack(2), ack(3, ENODEV))
    requests = [request().ignoring(EEXIST), request(), request(ignore=(ENODEV,)).ignoring(EEXIST)]
    assert sock.request_all(requests) == [EEXIST, 0, ENODEV]


def test_ignoring_leaves_the_request_as_it_was() -> None:
    one = request()
    assert one.ignoring(EEXIST).ignore == (EEXIST,)
    assert one.ignore == ()


@pytest.mark.parametrize("capped", [True, False])
def test_the_kernels_own_words_are_told(capped: bool) -> None:
    if capped:
        answer = ack(1, EINVAL, "Attribute failed policy validation")
    else:
        # Without NETLINK_CAP_ACK the whole request is repeated, here one with 5 bytes of payload.
        payload = pack("=iIHHII", -EINVAL, 21, c.RTM_SETLINK, 0, 1, 0) + bytes(8)
        payload += attr_string(c.NLMSGERR_ATTR_MSG, "Attribute failed policy validation")
        answer = message(c.NLMSG_ERROR, 1, payload, c.NLM_F_ACK_TLVS)
    sock, _ = scripted(answer)
    with pytest.raises(NetlinkError) as caught:
        sock.request(request("cannot set veth1 up"))
    assert caught.value.text == "Attribute failed policy validation"
    assert str(caught.value) == "cannot set veth1 up: invalid argument (Attribute failed policy validation)"
    assert caught.value.what == "cannot set veth1 up"


def test_an_error_without_a_sentence_is_its_reason() -> None:
    assert str(NetlinkError(ENODEV)) == "no such device"
    assert isinstance(NetlinkError(ENODEV), OSError)


def test_strangers_are_passed_over() -> None:
    link = bytes(16)
    sock, _ = scripted(
        ack(0, EPERM),  # a late answer
        ack(1, EPERM, port=PORT + 1),  # a notification that somebody else's request 1 caused
        message(c.RTM_NEWLINK, 1, link),  # a notification that this request caused
        message(c.RTM_NEWLINK, 0, link, port=0) + ack(1),
    )
    assert sock.request(request()) == 0
    sock, _ = scripted(message(c.RTM_NEWLINK, 0, b"no"), message(c.RTM_NEWLINK, 1, b"yes!"))
    assert sock.get(request()) == b"yes!"


def test_get_refused() -> None:
    sock, _ = scripted(ack(1, ENODEV))
    with pytest.raises(NetlinkError, match="cannot do it: no such device"):
        sock.get(request())


def test_dump_collects_until_done() -> None:
    new = c.RTM_NEWLINK
    sock, script = scripted(
        message(new, 1, b"a   ") + message(new, 1, b"b   "),
        message(new, 0, b"stranger"),
        message(c.NLMSG_NOOP, 1),
        message(new, 1, b"c   "),
        done(1),
    )
    assert sock.dump(request()) == [b"a   ", b"b   ", b"c   "]
    flags = unpack_from("=IHHII", script.sent[0])[2]
    assert flags == c.NLM_F_REQUEST | c.NLM_F_DUMP


@pytest.mark.parametrize(
    "interruption",
    [
        message(c.RTM_NEWLINK, 1, b"old ", c.NLM_F_DUMP_INTR),
        message(c.NLMSG_OVERRUN, 1),
        OSError(ENOBUFS, "No buffer space available"),
    ],
    ids=["table changed", "overrun", "buffer overflow"],
)
def test_interrupted_dump_is_repeated(interruption: Answer) -> None:
    sock, script = scripted(
        message(c.RTM_NEWLINK, 1, b"old "),
        interruption,
        message(c.RTM_NEWLINK, 1, b"old "),
        done(1),
        message(c.RTM_NEWLINK, 2, b"new "),
        done(2),
    )
    assert sock.dump(request()) == [b"new "]
    assert len(script.sent) == 2


def test_dump_interrupted_in_the_kernel_is_repeated() -> None:
    sock, _ = scripted(done(1, EINTR), message(c.RTM_NEWLINK, 2, b"new ") + done(2))
    assert sock.dump(request()) == [b"new "]


def test_a_table_that_keeps_changing_is_given_up() -> None:
    answers = [message(c.NLMSG_DONE, i + 1, bytes(4), c.NLM_F_DUMP_INTR) for i in range(8)]
    sock, script = scripted(*answers)
    with pytest.raises(NetlinkError, match="the table keeps changing") as caught:
        sock.dump(request())
    assert caught.value.errno == EBUSY
    assert script.answers == []


@pytest.mark.parametrize("last", [ack(1, EOPNOTSUPP), done(1, EOPNOTSUPP)], ids=["error", "done"])
def test_dump_refused(last: bytes) -> None:
    sock, _ = scripted(last)
    with pytest.raises(NetlinkError, match="cannot do it: operation not supported") as caught:
        sock.dump(request())
    assert caught.value.errno == EOPNOTSUPP


def test_dump_refused_in_words() -> None:
    payload = pack("=i", -EINVAL) + attr_string(c.NLMSGERR_ATTR_MSG, "Unsupported attribute in dump request")
    sock, _ = scripted(message(c.NLMSG_DONE, 1, payload, c.NLM_F_ACK_TLVS))
    with pytest.raises(NetlinkError, match="Unsupported attribute in dump request"):
        sock.dump(request())


def test_other_errors_of_the_socket_end_a_dump() -> None:
    sock, _ = scripted(OSError(EPERM, "Operation not permitted"))
    with pytest.raises(PermissionError):
        sock.dump(request())


@pytest.mark.parametrize(
    "datagram",
    [bytes(40000), ack(1)[:-1], message(c.NLMSG_ERROR, 1, b"\0\0")],
    ids=["larger than the buffer", "cut off", "no error number"],
)
def test_damaged_answers_are_refused(datagram: bytes) -> None:
    sock, _ = scripted(datagram)
    with pytest.raises(NetlinkDecodeError):
        sock.request(request())


def test_get_that_is_only_acknowledged() -> None:
    sock, _ = scripted(ack(1))
    with pytest.raises(NetlinkDecodeError, match="where an answer was expected"):
        sock.get(request())


@pytest.mark.parametrize("groups", [0, c.RTMGRP_LINK])
def test_silence_does_not_last_for_ever(groups: int) -> None:
    with NetlinkSocket(groups, timeout=0.01) as sock, pytest.raises(NetlinkError) as caught:
        sock.receive()
    assert caught.value.errno == ETIMEDOUT


def test_the_port_is_the_same_before_and_after_a_request() -> None:
    with NetlinkSocket() as early, NetlinkSocket() as late:
        port = early.port
        for sock in (early, late):
            assert sock.get(NetlinkRequest(c.RTM_GETLINK, 0, ifinfo("lo")))
        assert 0 not in (port, late.port)
        assert port == early.port != late.port


def test_closing_twice_is_closing() -> None:
    sock = NetlinkSocket()
    assert sock.fileno() >= 0
    sock.close()
    sock.close()
    assert sock.fileno() == -1
