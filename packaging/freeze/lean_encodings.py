"""What the executables have for `encodings`: UTF-8, which is all that they read and write through a codec.

The interpreter imports the real package, with `codecs` and a table of 300 names, before it runs anything,
and that is an eighth of its start. What `str` and `bytes` do by themselves (ASCII, Latin-1, UTF-8 with
any error handler) never comes here. tests/dist/test_lean_encodings.py holds this to the real one.
"""

from _codecs import register, utf_8_decode, utf_8_encode


class Encoder:
    """An incremental encoder; see codecs.IncrementalEncoder. UTF-8 has no state.

    Args:
        errors: the name of the error handler.
    """

    def __init__(self, errors: str = "strict") -> None:
        self.errors = errors

    def encode(self, text: str, final: bool = False) -> bytes:
        """Return text as bytes."""
        return utf_8_encode(text, self.errors)[0]

    def reset(self) -> None:
        """Begin anew."""

    def getstate(self) -> int:
        """Return the state."""
        return 0

    def setstate(self, state: int) -> None:
        """Go on from a state."""


class Decoder:
    """An incremental decoder; see codecs.BufferedIncrementalDecoder. Its state is half a character.

    Args:
        errors: the name of the error handler.
    """

    def __init__(self, errors: str = "strict") -> None:
        self.errors = errors
        self.rest = b""

    def decode(self, content: bytes, final: bool = False) -> str:
        """Return bytes as text; what is incomplete at the end is kept, unless this is the end of all."""
        content = self.rest + content
        text, used = utf_8_decode(content, self.errors, final)
        self.rest = content[used:]
        return text

    def reset(self) -> None:
        """Begin anew."""
        self.rest = b""

    def getstate(self) -> tuple[bytes, int]:
        """Return the state."""
        return self.rest, 0

    def setstate(self, state: tuple[bytes, int]) -> None:
        """Go on from a state."""
        self.rest = state[0]


def decode(content: bytes, errors: str = "strict") -> tuple[str, int]:
    """Return bytes as text, and how many they were."""
    return utf_8_decode(content, errors, True)


class CodecInfo(tuple):  # type: ignore[type-arg]
    """What the codecs' registry holds: codecs.CodecInfo, for the one encoding that there is."""

    name = "utf-8"
    incrementalencoder = Encoder
    incrementaldecoder = Decoder


def search(name: str) -> CodecInfo | None:
    """Return the codec of a name, which comes in lower case."""
    return CodecInfo((utf_8_encode, decode, None, None)) if name in ("utf-8", "utf8", "utf_8") else None


register(search)
