"""What can go wrong with images and containers, in words."""

# Exit statuses of `shibafu run` besides the program's, as Docker's and Podman's commands have them.
NOT_STARTED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127


class ContainerError(Exception):
    """A failure in words.

    Args:
        message: one sentence that says what is wrong.
        hint: what to do about it; may be empty.
        status: the exit status of `shibafu run`.
    """

    def __init__(self, message: str, hint: str = "", status: int = NOT_STARTED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
