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
