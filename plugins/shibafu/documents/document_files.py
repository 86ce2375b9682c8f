"""Files of documents, as texts: with a limit on their size, and in UTF-8."""

import sys

from shibafu.documents.errors import DocumentError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_document(path: str, limit: int) -> tuple[str, str]:
    """Return the content of a file, and what mistakes call it.

    Args:
        path: the file, - for standard input.
        limit: how many bytes it may have.

    Raises:
        DocumentError: it is larger, or not in UTF-8.
        OSError: it cannot be read.
    """
    if path == "-":
        return _decode(sys.stdin.buffer.read(limit + 1), "standard input", limit), "standard input"
    with open(path, "rb") as file:
        return _decode(file.read(limit + 1), path, limit), path


def _decode(content: bytes, name: str, limit: int) -> str:
    if len(content) > limit:
        raise DocumentError(f"{name}: larger than {limit >> 20} MB")
    try:
        # Windows' editors begin a file with it; the executable has no codec for that.
        return content.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{name}:{line}: not in UTF-8", "convert it: iconv -t UTF-8") from None
