"""What is wrong with documents, in words."""


class DocumentError(ValueError):
    """The mistakes of a file, each on a line with its place.

    Args:
        message: the mistakes.
        hint: what to do about them; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
