"""Failures that stop only their own part of a subcommand: each is reported, and the rest is done."""

from collections.abc import Iterator
from contextlib import contextmanager

from shibafu.command.errors import FAILED, CommandError, describe_failure
from shibafu.command.output import Output


class Failures:
    """What failed of a subcommand that does the same for many: networks, containers, files.

    Args:
        out: where each failure is reported at once.

    Attributes:
        status: the exit code so far.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self.status = 0

    def add(self, *errors: Exception) -> None:
        """Report failures of which nobody has been told."""
        for error in errors:
            self._out.failure(describe_failure(error))
            self.status = FAILED

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Do a part, whose failure keeps no other part from being done.

        Args:
            what: what the part is about, such as "network blue", for the report.

        Raises:
            BrokenPipeError: nobody reads the output any more.
        """
        try:
            yield
        except BrokenPipeError:
            raise
        except Exception as error:
            failure = describe_failure(error)
            self.add(CommandError(f"{what}: {failure.message}", failure.hint))
