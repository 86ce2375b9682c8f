"""The configuration of shibafu-portmap."""

from shibafu.cni.config import Section, fold_keys
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import IPTABLES, NFTABLES
from shibafu.cni.result import Result, parse_prev_result
from shibafu.portmap.mapping import Mapping, parse_mappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.lean.ip import Cidr

_MARKS = ("markMasqBit", "externalSetMarkChain")
# XT_EXTENSION_MAXNAMELEN in linux/netfilter/x_tables.h, without the terminating zero.
_MAX_CHAIN = 28
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
# What would end a rule, or begin another, in the input of iptables-restore or nft.
_UNSAFE = frozenset('\n\r\0;"\\')


class PortmapConfig:
    """What a configuration asks for; the keys and their refusals are the reference's.

    Args:
        request: the call.

    Attributes:
        backend: `iptables` or `nftables`; empty where the configuration leaves the choice.
        snat: whether connections from the container's own subnet, and from 127.0.0.1, are masqueraded.
        masq_all: whether all connections to published ports are.
        conditions: by family, further conditions of each rule, as words of the backend.
        mark_chain: iptables: a chain that marks what somebody else masquerades; empty for none.
        mappings: the ports.

    Raises:
        CniError: INVALID_CONFIG.
    """

    backend = ""
    snat = True
    masq_all = False
    mark_chain = ""

    def __init__(self, request: "Request") -> None:
        config = request.config
        self._request = request
        self.conditions = {4: config.texts("conditionsV4"), 6: config.texts("conditionsV6")}
        for attribute, value in config.read(_KEYS):
            if value is not None:
                setattr(self, attribute, value)
        for version, words in self.conditions.items():
            self.conditions[version] = [word for word in words if word]
            if any(map(_UNSAFE.intersection, words)):
                what = f'"conditionsV{version}" contains a character that is not allowed in conditions'
                raise _refuse(what, "omit ; and quotes")
        self._check_marks(config)
        self._check_backend(config)
        sections = config.section("runtimeConfig").sections("portMappings")
        self.mappings: list[Mapping] = parse_mappings(sections)

    @property
    def previous(self) -> Result | None:
        """The result of the plugins before this one.

        Raises:
            CniError: see `parse_prev_result`.
        """
        return parse_prev_result(self._request.config, self._request.cni_version)

    def find_targets(self, result: Result) -> "dict[int, Cidr]":
        """Return the container's first address of each family, with the prefix of its subnet."""
        targets: dict[int, Cidr] = {}
        for ip in result.ips:
            number = ip.interface
            if number is not None and 0 <= number < len(result.interfaces):
                interface = result.interfaces[number]
                if interface.name != self._request.ifname or not interface.sandbox:
                    continue
            targets.setdefault(ip.address.version, ip.address)
        return targets

    def _check_marks(self, config: Section) -> None:
        if all(key in config for key in _MARKS):
            raise _refuse("Cannot specify externalSetMarkChain and markMasqBit", "omit one of them")
        bit = config.number("markMasqBit")
        if bit is not None and not 0 <= bit <= 31:
            raise _refuse("MasqMarkBit must be between 0 and 31", f'"markMasqBit" is {bit}')
        if len(self.mark_chain) > _MAX_CHAIN or not _NAME.issuperset(self.mark_chain):
            raise _refuse(
                f'"externalSetMarkChain" is not the name of a chain: "{self.mark_chain}"',
                "set the name of a chain of iptables",
            )

    def _check_backend(self, config: Section) -> None:
        """See that what is in a backend's own words is for the one that is used, which it may decide."""
        words: dict[str, list[str]] = {IPTABLES: [], NFTABLES: []}
        if self.mark_chain:
            words[IPTABLES].append("externalSetMarkChain")
        for version, condition in self.conditions.items():
            if condition:
                words[IPTABLES if condition[0][0] in "-!" else NFTABLES].append(f"conditionsV{version}")
        if self.backend not in ("", IPTABLES, NFTABLES):
            raise _refuse(f'unrecognized backend "{self.backend}"', f'"backend" is {IPTABLES} or {NFTABLES}')
        if not self.backend:
            self.backend = next((name for name, keys in words.items() if keys), "")
        other = {IPTABLES: NFTABLES, NFTABLES: IPTABLES}.get(self.backend, "")
        if other and words[other]:
            raise _refuse(
                f"{self.backend} backend was requested but configuration contains {other}-specific options "
                f"[{' '.join(words[other])}]",
                f'set "backend" to {other}, or write them for {self.backend}',
            )


def _refuse(what: str, advice: str) -> CniError:
    return CniError(INVALID_CONFIG, f"failed to parse config: {what}", advice)


def _read_flag(section: Section, key: str) -> bool | None:
    return section.flag(key) if key in section else None


_KEYS = fold_keys(
    ("backend", "backend", Section.text),
    ("snat", "snat", _read_flag),
    ("masq_all", "masqAll", _read_flag),
    ("mark_chain", "externalSetMarkChain", Section.text),
)
