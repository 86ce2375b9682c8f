"""The messages between launchers, workers and the engine's parent."""

import pytest

from shibafu.engine.protocol import (
    DESCRIPTORS,
    HEAD,
    LIMITS,
    MAGIC,
    RLIM_NLIMITS,
    Call,
    RefusedError,
    parse_call,
    parse_event,
    render_event,
)

BUILD = b"0123456789abcdef"
FILES = tuple(range(3, 3 + DESCRIPTORS))
LIMITS_NONE = LIMITS.pack(*[-1] * 2 * RLIM_NLIMITS)


def render_call(
    *strings: bytes, argc: int = 1, cold: int = 0, magic: bytes = MAGIC, build: bytes = BUILD, envc: int = 1
) -> bytes:
    head = HEAD.pack(magic, build, cold, 0o27, argc, envc, LIMITS_NONE)
    return head + b"".join(one + b"\0" for one in strings)


def test_call() -> None:
    message = render_call(b"shibafu-hook", b"/bin/hook", b"--ip=", b"", b"A=1", b"B=", argc=3, envc=2)
    call = parse_call(message, FILES, BUILD)
    assert (call.program, call.umask, call.descriptors) == ("shibafu-hook", 0o27, FILES)
    assert call.limits == LIMITS_NONE
    assert call.argv == [b"/bin/hook", b"--ip=", b""]
    assert call.env == [b"A=1", b"B="]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed"),
        (render_call(b"p", b"a", b"E=1")[:-1], "malformed"),
        (render_call(b"p", b"a", b"E=1", b"more"), "malformed"),
        (render_call(b"p", b"E=1", argc=0), "malformed"),
        (render_call(b"p", b"a", argc=1, envc=0xFFFFFFFF), "malformed"),
        (render_call(magic=b"shibafu2"), "another version of the protocol"),
        (render_call(b"p", b"a", b"E=1", build=b"f" * 16), "another build"),
        (render_call(cold=1), "the call is too large"),
        (render_call(cold=2), "no /proc"),
        (render_call(cold=99), "unknown reason"),
    ],
)
def test_refusals(message: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        parse_call(message, FILES, BUILD)


@pytest.mark.parametrize("descriptors", [(), FILES[:-1], (*FILES, 99)])
def test_descriptors_are_counted(descriptors: tuple[int, ...]) -> None:
    with pytest.raises(RefusedError, match="malformed"):
        parse_call(render_call(b"p", b"a", b"E=1"), descriptors, BUILD)


@pytest.mark.parametrize(
    ("env", "verb"),
    [
        ([b"CNI_COMMAND=ADD"], "ADD"),
        ([b"X=CNI_COMMAND=ADD", b"CNI_COMMAND=VERSION"], "VERSION"),
        ([b"CNI_COMMAND=\xff"], ""),
        ([b"CNI_COMMAND=anything\0else"], ""),
        ([], ""),
    ],
)
def test_verbs_are_those_of_the_specification(env: list[bytes], verb: str) -> None:
    assert Call(b"shibafu-bridge", [b"a"], env, 0, LIMITS_NONE, ()).verb == verb


def test_events() -> None:
    event = render_event("done", 12, "shibafu-bridge", "", 1, 1500)
    assert parse_event(event) == ("done", 12, ["shibafu-bridge", "", "1", "1500"])
