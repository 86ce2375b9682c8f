"""What programs read of containers and images is what docs/schemas says."""

from typing import Any

from e2e.command import DATA_DIR, Command
from e2e.machine import Machine
from support.command_line import LINES
from support.schemas import VALUES, assert_closed, find_subcommand

# Other tests read what these print.
GROUPS = ("completion", "engine", "ipam", "link", "network", "overlay", "policy", "watch")


def test_each_subcommand_prints_what_its_schema_says(machine: Machine, run: Command) -> None:
    """And the schema takes nothing else."""
    values: dict[str, Any] = {}

    def see(line: str) -> Any:
        values[find_subcommand(line)] = value = run.json(line)
        return value

    see("image import other --builtin")
    assert see("image ls")
    assert see("run -d --name web1 -p 8080:80 alpine sleep 600")["pid"]
    assert see("ps")[0]["addresses"]
    assert see("stop --time 0 web1")["stopped"]
    assert see("start web1")
    assert see("restart --time 0 web1")
    run("run -d --name web2 alpine echo hello")
    assert see("logs --follow web2")["log"] == "hello\n"
    machine.run("truncate", "--size=1", f"{DATA_DIR}/containers/web2/container.json")
    assert {view["state"] for view in see("ps --all")} == {"running", "damaged"}
    assert see("rm --force web1 web2")["removed"]
    assert see("image rm other")["removed"]
    assert set(values) == {line for line in LINES if line.split()[0] not in GROUPS} - {"exec"}
    for line, value in values.items():
        assert_closed(str(VALUES[line]), value)
