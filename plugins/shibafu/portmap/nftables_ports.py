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
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.portmap.publication import Publication
    from shibafu.portmap.register import Companions

_TAKEN = "File exists"
# How protocols are called (/etc/protocols).
_NUMBERS = {"tcp": "6", "udp": "17", "sctp": "132"}
_PROTOCOLS = {number: name for name, number in _NUMBERS.items()}
_ADVICE = "choose another port, or detach that container"


class _Element:
    """An element as nft lists it; what it has no comment or no value of is empty."""

    __slots__ = ("comment", "key", "name", "value")

    def __init__(self, name: str, text: str) -> None:
        text, _, self.value = text.partition(" : ")
        self.name = name
        self.key, _, comment = text.partition(' comment "')
        self.comment = comment.removesuffix('"')


class NftablesPorts:
    """The tables of published ports; `iptables_ports.IptablesPorts` has the same methods.

    Args:
        env: the environment.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_nft",)

    def __init__(self, env: "Mapping[str, str]") -> None:
        self._nft = Nft(env)

    def publish(
        self, publication: "Publication", others: "Companions", is_paused: "Callable[[], bool]"
    ) -> None:
        """Make the rules of a publication.

        Args:
            publication: what is published.
            others: all that is published besides.
            is_paused: whether what is missing of the others' rules stays so, and these with it.

        Raises:
            CniError: PORT_TAKEN when somebody else has a port; or nft refused.
        """
        has_neighbours = any(_select(publication, others))
        if has_neighbours and (self._run(render_added(_calc(publication, [publication]))) or is_paused()):
            return
        # The first; or the table was removed, and all who are in it need it again.
        self.restore(publication, others)

    def restore(self, publication: "Publication", others: "Companions") -> None:
        """Make the rules of a publication out of whatever is left of them; see `publish`.

        Raises:
            CniError: PORT_TAKEN when somebody else has a port; or nft refused.
        """
        text = render_setup(_calc(publication, [*_select(publication, others), publication]))
        status, _, stderr = self._nft.start(text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            if _TAKEN in said:
                raise self._describe_taken(publication)
            raise CniError(FIREWALL, f"nft refused the rules: {said}", text)

    def withdraw(self, publication: "Publication", others: "Companions", is_complete: bool = True) -> None:
        """Remove the rules of a publication; absence is success.

        Args:
            publication: what is no longer published.
            others: all that stays published.
            is_complete: whether that is really all.

        Raises:
            CniError: nft refused.
        """
        ruleset = _calc(publication, [publication])
        if not is_complete:
            self._remove_elements(ruleset.name, lambda comment: comment.startswith(publication.key))
            return
        if not any(_select(publication, others)):
            if not self._run(render_teardown(ruleset)):
                self._nft.run(render_teardown(ruleset))  # once more, to have the refusal's text
            return
        # Another may have the address by now; what its connections need stays.
        successors = _select(publication, others.with_same_address())
        needed = {part.name: set(part.elements) for part in _calc(publication, successors).sets}
        for part in ruleset.sets:
            part.elements = [one for one in part.elements if one not in needed[part.name]]
        if not self._run(render_deleted(ruleset)):
            # Somebody has changed something: then by the comments, which are the attachment's alone.
            self._remove_elements(ruleset.name, lambda comment: comment.startswith(publication.key))

    def find_fault(self, publication: "Publication") -> str:
        """Return what is wrong with the rules of a publication, in words; empty if nothing is.

        Raises:
            CniError: nft cannot be executed.
        """
        ruleset = _calc(publication, [publication])
        # By their names, each of many elements' protocols is looked up in a file.
        for part in ruleset.sets:
            part.elements = [_swap_protocol(element, _NUMBERS) for element in part.elements]
        status, stdout, stderr = self._nft.start(render_looked_up(ruleset), "--numeric-protocol").wait()
        if status:
            said = stderr.decode("utf-8", "replace").splitlines()
            asked = next((line.strip() for line in said if line.startswith(("get ", "list "))), "")
            return f"table {ruleset.name} lacks: {asked}" if asked else "rules of nftables are missing"
        listing = RulesetListing(stdout.decode("utf-8", "replace"))
        if not any(publication.conditions.values()):
            return _swap_protocol(listing.find_difference(ruleset), _PROTOCOLS)
        for chain in ruleset.chains:
            chain.rules = []  # nft lists conditions in words of its own
        return _swap_protocol(listing.find_missing(ruleset), _PROTOCOLS)

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
        leaving = [one for one in elements if one.comment and is_leaving(one.comment)]
        staying = [one for one in elements if one.comment and one not in leaving]
        addresses = {one.value.partition(" . ")[0] for one in staying}
        # Those of the sets have no comment, and are about an address.
        leaving += [one for one in elements if not one.comment and one.key.split()[-1] not in addresses]
        lines = [f"delete element {table} {one.name} {{ {one.key} }}" for one in leaving]
        if not staying:
            lines = [f"add table {table}", f"delete table {table}"]
        if lines:
            self._nft.run("\n".join(lines) + "\n")

    def _list_elements(self, table: str) -> "list[_Element]":
        """Return the elements of a table's maps and sets."""
        found, name, is_inside = [], "", False
        for line in map(str.strip, self._nft.list_table(table).splitlines()):
            if line.endswith(" {"):
                name = line.split()[1]
            is_inside = is_inside or line.startswith("elements = {")
            if is_inside:
                texts = line.removeprefix("elements = {").removesuffix("}").split(",")
                found += [_Element(name, text.strip()) for text in texts if text.strip()]
                is_inside = not line.endswith("}")
        return found

    def _describe_taken(self, publication: "Publication") -> CniError:
        """Return the refusal of a port that is published, though it is not in the register."""
        table = calc_table(publication)
        wanted = {
            (part.name, element.partition(" comment ")[0])
            for part in _calc(publication, [publication]).sets
            for element in part.elements
        }
        for one in self._list_elements(table):
            if one.comment and (one.name, one.key) in wanted:
                network, _, container_id = one.comment.partition(" ")[2].partition(" ")
                protocol, _, port = one.key.rpartition(" . ")
                what = f"port {port}/{protocol.rpartition(' ')[2]} of the host is taken by container "
                return CniError(PORT_TAKEN, f"{what}{container_id} on network {network}", _ADVICE)
        return CniError(PORT_TAKEN, "a port of the host is taken by another container", _ADVICE)

    def _run(self, text: str) -> bool:
        """Do a transaction, without the wait for the kernel after it; return whether it succeeded."""
        return self._nft.start(text).wait_until_silent()


def _swap_protocol(text: str, other_names: dict[str, str]) -> str:
    """Return an element, or a sentence that ends with one, with another name for its protocol."""
    words = text.split(" ")
    # It comes before the port, and perhaps behind an address.
    for i, word in enumerate(words[:-1]):
        if word in other_names and words[i + 1] == ".":
            return " ".join([*words[:i], other_names[word], *words[i + 1 :]])
    return text


def _calc(publication: "Publication", members: "Iterable[Publication]") -> "Ruleset":
    return calc_ruleset(members, calc_table(publication), publication.conditions)


def _select(publication: "Publication", others: "Iterable[Publication]") -> "Iterator[Publication]":
    """Yield those that are in the same table."""
    table = calc_table(publication)
    return (one for one in others if calc_table(one) == table)
