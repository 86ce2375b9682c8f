"""A network of the command's with two containers, to be broken and repaired."""

from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach


class BlueNetwork:
    """Network `blue` with two containers."""

    def __init__(self, shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace) -> None:
        self.shibafu = shibafu
        self.host = host
        self.web = web
        self.db = db
        self.is_internal = False

    def create(self, *options: str) -> None:
        self.shibafu(" ".join(["network create blue --subnet 10.66.0.0/24", *options]))
        for container in (self.web, self.db):
            self.shibafu(f"network connect blue {container.name}")
        self.check()

    def check(self) -> None:
        """See that the containers reach each other and their gateway, and the plugins are content."""
        assert can_reach(self.db, "10.66.0.3", self.web)
        assert self.is_internal or can_reach(self.host, "10.66.0.1", self.web)
        self.shibafu("network check")
        assert "nothing to repair" in self.shibafu("network repair --dry-run")

    def repair(self) -> list[str]:
        """Repair it, after a dry run that changes nothing; return what was wrong."""
        found = self.shibafu.json("network repair --dry-run", status=1)["faults"]
        assert found == self.shibafu.json("network repair --dry-run", status=1)["faults"]
        assert not any(fault["repaired"] for fault in found)
        repaired = self.shibafu.json("network repair blue")["faults"]
        assert all(fault["repaired"] for fault in repaired)
        self.check()
        return [fault["what"] for fault in repaired]
