"""What the command tells people when something does not work."""

# Exit codes: 0 for success, these, and 130 after Ctrl-C, as shells have it.
FAILED = 1
USAGE = 2


class CommandError(Exception):
    """A failure in words.

    Args:
        message: one sentence that says what is wrong.
        hint: what to do about it; may be empty.
        status: the exit code, FAILED or USAGE.
    """

    def __init__(self, message: str, hint: str = "", status: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class UsageError(CommandError):
    """Arguments that each make sense, but not together."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, USAGE)
