"""How the subcommands of `shibafu link` tell what they did."""

from shibafu.cli.output import Output


def report(out: Output, done: list[str]) -> int:
    """Print the lines of ip(8) that do the same, and return the exit code."""
    out.data({"changed": bool(done), "commands": done})
    for line in done:
        out.text(f"{out.style.paint('green', '+')} {line}")
    if not done:
        out.text("nothing to do: it is so already")
    return 0
