"""What is wrong with an overlay network, in words."""


class OverlayError(Exception):
    """A failure in words.

    Args:
        message: one sentence that says what is wrong.
        hint: what to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def split_failure(error: OverlayError | OSError) -> tuple[str, str]:
    """Return what has failed, and what to do; the latter is empty for the kernel's own errors."""
    return (error.message, error.hint) if isinstance(error, OverlayError) else (str(error), "")
