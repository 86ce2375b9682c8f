"""Errors of the kernel's rtnetlink interface."""

import os
from errno import EBADMSG


class NetlinkError(OSError):
    """A request that the kernel refused, or an exchange with it that failed.

    Args:
        errno: Positive error number.
        text: The kernel's extended acknowledgement, or another detail; '' if there is none.
        what: What failed, as the beginning of a sentence: "cannot set veth1a2b up".
    """

    errno: int

    def __init__(self, errno: int, text: str = "", what: str = "") -> None:
        super().__init__(errno, text)
        self.text = text
        self.what = what

    def __str__(self) -> str:
        # "No such device" continues a sentence here.
        reason = os.strerror(self.errno)
        reason = reason[:1].lower() + reason[1:]
        if self.text:
            reason = f"{reason} ({self.text})"
        return f"{self.what}: {reason}" if self.what else reason


class NetlinkDecodeError(NetlinkError):
    """Bytes that are not a well-formed netlink message."""

    def __init__(self, text: str) -> None:
        super().__init__(EBADMSG, text, "cannot decode netlink message")
