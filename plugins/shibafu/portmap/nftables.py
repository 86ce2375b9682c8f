"""Published ports put into the kernel by nft(8), compared and removed."""

from shibafu.cni.errors import FIREWALL, PORT_TAKEN, CniError
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import (
    RulesetListing,
    render_added,
    render_deleted,
    render_looked_up,
    render_setup,
    render_teardown,
)
from shibafu.portmap.tables import calc_ruleset, calc_table, is_ports_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.portmap.publication import Publication

_TAKEN = "File exists"
_ADVICE = "choose another port, or detach that container"


class NftablesPorts:
    """The tables of published ports; `iptables.IptablesPorts` has the same methods.

    Args:
        env: the environment.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_nft",)

    def __init__(self, env: "Mapping[str, str]") -> None:
        self._nft = Nft(env)

    def publish(self, publication: "Publication", others: "list[Publication]") -> None:
        """Make the rules of a publication.

        Args:
            publication: what is published.
            others: all that is published besides.

        Raises:
            CniError: PORT_TAKEN when somebody else has a port; or nft refused.
        """
        neighbours = _select(publication, others)
        if neighbours and self._run(render_added(_calc(publication, [publication]))):
            return
        # The first; or the table was removed, and all who are in it need it again.
        text = render_setup(_calc(publication, [*neighbours, publication]))
        status, _, stderr = self._nft.start(text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            if _TAKEN in said:
                raise self._describe_taken(publication)
            raise CniError(FIREWALL, f"nft refused the rules: {said}", text)

    def withdraw(self, publication: "Publication", others: "list[Publication]") -> None:
        """Remove the rules of a publication; absence is success.

        Args:
            publication: what is no longer published.
            others: all that stays published.

        Raises:
            CniError: nft refused.
        """
        table = calc_table(publication)
        ruleset = _calc(publication, [publication])
        if not _select(publication, others):
            if not self._run(render_teardown(ruleset)):
                self._nft.run(render_teardown(ruleset))  # once more, to have the refusal's text
        elif not self._run(render_deleted(ruleset)):
            # Somebody has changed something: then by the comments, which are the attachment's alone.
            self._remove_elements(table, lambda comment: comment.startswith(publication.key))

    def find_fault(self, publication: "Publication") -> str:
        """Return what is wrong with the rules of a publication, in words; empty if nothing is.

        Raises:
            CniError: nft cannot be executed.
        """
        ruleset = _calc(publication, [publication])
        status, stdout, stderr = self._nft.start(render_looked_up(ruleset)).wait()
        if status:
            said = stderr.decode("utf-8", "replace").splitlines()
            asked = next((line.strip() for line in said if line.startswith(("get ", "list "))), "")
            return f"table {ruleset.name} lacks: {asked}" if asked else "rules of nftables are missing"
        listing = RulesetListing(stdout.decode("utf-8", "replace"))
        if not any(publication.conditions.values()):
            return listing.find_difference(ruleset)
        for chain in ruleset.chains:
            chain.rules = []  # nft lists conditions in words of its own
        return listing.find_missing(ruleset)

    def sweep(self, is_leaving: "Callable[[str], bool]") -> None:
        """Remove elements without a record.

        Args:
            is_leaving: whether one goes, by its comment.

        Raises:
            CniError: nft refused.
        """
        listed = self._nft.run("list tables\n").splitlines()
        for line in listed:
            table = line.removeprefix("table ").strip()
            if is_ports_table(table):
                self._remove_elements(table, is_leaving)

    def _remove_elements(self, table: str, is_leaving: "Callable[[str], bool]") -> None:
        """Remove elements by their comments, and the table with the last."""
        elements = self._list_elements(table)
        leaving = [element for element in elements if is_leaving(element[2])]
        lines = [f"delete element {table} {name} {{ {key} }}" for name, key, _ in leaving]
        if len(leaving) == len(elements):
            lines = [f"add table {table}", f"delete table {table}"]
        if lines:
            self._nft.run("\n".join(lines) + "\n")

    def _list_elements(self, table: str) -> list[tuple[str, str, str]]:
        """Return the name of the set, the key and the comment of each element of a table."""
        found, name = [], ""
        for line in map(str.strip, self._nft.list_table(table).splitlines()):
            if line.endswith(" {"):
                kind, name = line.split()[:2]
                name = name if kind in ("set", "map") else ""
            key, _, rest = line.removeprefix("elements = { ").partition(' comment "')
            if name and rest:
                found.append((name, key, rest.partition('"')[0]))
        return found

    def _describe_taken(self, publication: "Publication") -> CniError:
        """Return the refusal of a port that is published, though it is not in the register."""
        table = calc_table(publication)
        wanted = {
            (part.name, element.partition(" comment ")[0])
            for part in _calc(publication, [publication]).sets
            for element in part.elements
        }
        for name, key, comment in self._list_elements(table):
            if (name, key) in wanted:
                _, _, holder = comment.partition(" ")
                protocol, _, port = key.removesuffix("}").rpartition(" . ")
                what = f"port {port}/{protocol.rpartition(' ')[2]}"
                return CniError(PORT_TAKEN, f"{what} of the host is taken: {holder}", _ADVICE)
        return CniError(PORT_TAKEN, "a port of the host is taken by another container", _ADVICE)

    def _run(self, text: str) -> bool:
        """Do a transaction, without the wait for the kernel after it; return whether it succeeded."""
        return self._nft.start(text).wait_until_silent()


def _calc(publication: "Publication", members: "list[Publication]") -> "Ruleset":
    return calc_ruleset(members, calc_table(publication), publication.conditions)


def _select(publication: "Publication", others: "list[Publication]") -> "list[Publication]":
    """Return those that are in the same table."""
    table = calc_table(publication)
    return [one for one in others if one.backend == publication.backend and calc_table(one) == table]
