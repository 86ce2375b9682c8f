"""Standard output of the engine's processes: the launcher hears of an answer before it is printed."""

from _socket import MSG_NOSIGNAL
from io import BufferedWriter, FileIO, TextIOWrapper

from shibafu.engine import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from _typeshed import ReadableBuffer


class AnnouncedOutput(FileIO):
    """Descriptor 1.

    A launcher whose worker is killed in the middle of a call prints an error object in its place, but
    nothing may follow an answer.

    Attributes:
        launcher: who is told of the first write; None when nobody calls, or has been told.
    """

    launcher: "socket | None" = None

    def write(self, content: "ReadableBuffer", /) -> int:
        """Announce that something is printed, and print it."""
        launcher = self.launcher
        if launcher is not None:
            AnnouncedOutput.launcher = None
            launcher.send(protocol.PRINTING, MSG_NOSIGNAL)
        return super().write(content)


def open_output() -> TextIOWrapper:
    """Return standard output as the interpreter makes it in UTF-8 mode, which announces what it prints.

    The descriptor stays open, whatever becomes of the object.
    """
    return TextIOWrapper(
        BufferedWriter(AnnouncedOutput(1, "w", closefd=False)), encoding="utf-8", errors="surrogateescape"
    )
