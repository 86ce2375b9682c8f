"""The keys of shibafu-tuning's network configuration."""

from shibafu.cni.args import parse_args
from shibafu.cni.config import Section, fold_keys
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.tuning.attributes import Attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request

DEFAULT_DATA_DIR = "/run/cni/tuning"
_SYSCTLS = "/proc/sys/"
# Others are not a network namespace's own.
_ALLOWED = "/proc/sys/net/"
# The kernel keeps both as numbers with a sign.
_MAX_NUMBER = 0x7FFFFFFF


class TuningConfig:
    """A validated configuration.

    Args:
        request: the call.

    Attributes:
        data_dir: where files with the interfaces' former attributes are.
        sysctl_keys: the sysctls as they are stated.
        sysctls: what to write, by file.
        attributes: those that the interface is to have.

    Raises:
        CniError: INVALID_CONFIG for a value of a wrong type, or one that cannot be. DEL and GC, which read
            `dataDir` alone, pass over these.
    """

    __slots__ = ("attributes", "data_dir", "sysctl_keys", "sysctls")

    def __init__(self, request: "Request") -> None:
        config = Section(request.config.values, "TuningConf")
        self.sysctl_keys: list[str] = []
        self.sysctls: dict[str, str] = {}
        self.attributes = Attributes()
        # What ADD refuses may have been right when the container came.
        if request.command in ("DEL", "GC"):
            stated_dir = config.get("dataDir")
            self.data_dir = stated_dir if isinstance(stated_dir, str) and stated_dir else DEFAULT_DATA_DIR
            return
        if "sysctl" in config:
            _refuse_duplicates(request.stdin)
        stated = _read_stated(request, config)
        self.data_dir = _parse_data_dir(config.text("dataDir"))
        self._parse_sysctls(stated, request.ifname)
        self._parse_attributes(stated)

    def _parse_sysctls(self, stated: "_Stated", ifname: str) -> None:
        self.sysctl_keys = list(stated.sysctl)
        for key, value in stated.sysctl.items():
            self.sysctls[_calc_path(key, ifname)] = value

    def _parse_attributes(self, stated: "_Stated") -> None:
        self.attributes = Attributes(
            _parse_mac(stated.mac),
            _check_number("mtu", stated.mtu) or None,
            stated.promisc or None,
            stated.allmulti,
            _check_number("txQLen", stated.txqlen),
        )


class _Stated:
    """What is stated, by whomever, before it is looked at; None where nothing is."""

    allmulti: bool | None = None
    mac = ""
    mtu = 0
    promisc = False
    sysctl: "dict[str, str]" = {}  # noqa: RUF012 - nobody changes it
    txqlen: int | None = None


def _read_stated(request: "Request", config: Section) -> _Stated:
    """Return what is stated: args.cni comes before runtimeConfig and CNI_ARGS, and these before the keys."""
    stated = _Stated()
    for attribute, value in config.read(_KEYS):
        if value is not None:
            setattr(stated, attribute, value)
    stated.mac = parse_args(request.args, ("MAC",)).get("MAC") or stated.mac
    stated.mac = Section(config.section("runtimeConfig").values, ".runtimeConfig").text("mac") or stated.mac
    args = Section(config.section("args").section("cni").values, "IPAMArgs.args.cni")
    for attribute, value in args.read(_KEYS):
        if attribute == "sysctl":
            stated.sysctl = stated.sysctl | _read_sysctl(args, "sysctl")
        elif value is not None:
            setattr(stated, attribute, value)
    return stated


def _read_flag(section: Section, key: str) -> bool | None:
    return section.flag(key) if key in section else None


def _read_text(section: Section, key: str) -> str | None:
    return section.text(key) if key in section else None


def _read_sysctl(section: Section, key: str) -> dict[str, str]:
    """Return names of sysctls and their values."""
    stated = section.get(key)
    if stated is None:
        return {}
    if not isinstance(stated, dict):
        raise section.wrong_type(key, stated, "map[string]string")
    sysctl = {}
    for name, value in stated.items():
        if not isinstance(value, str):
            refusal = section.wrong_type(key, value, "string")
            raise CniError(refusal.code, refusal.msg, f'put the value of "{name}" in quotes')
        sysctl[name] = value
    return sysctl


def _refuse_duplicates(stdin: bytes) -> None:
    """Refuse sysctls that are stated twice, of which a parsed document has only the last."""
    from shibafu.lean.json import loads_pairs

    document = loads_pairs(stdin)
    pairs = document if isinstance(document, tuple) else ()
    stated = [value for key, value in pairs if key.lower() == "sysctl" and isinstance(value, tuple)]
    names = [name for sysctl in stated for name, _ in sysctl]
    for name in names:
        if names.count(name) > 1:
            raise CniError(
                INVALID_CONFIG,
                "duplicated sysctl keys are not allowed",
                f'"sysctl" states "{name}" twice; remove one of them',
            )


def _calc_path(key: str, ifname: str) -> str:
    """Return the file of a sysctl, in which the interface's name stands for the first `IFNAME`."""
    name = key.replace(".", "/").replace("IFNAME", ifname, 1)
    # There are no dots left in it that could lead upwards, but in the interface's name, which is neither.
    path = _SYSCTLS + "/".join(filter(None, name.split("/")))
    if not path.startswith(_ALLOWED) or "\0" in path:
        raise CniError(
            INVALID_CONFIG,
            f'invalid net sysctl key: "{name}"',
            'names in "sysctl" must begin with "net.": other sysctls are shared with the host',
        )
    return path


def _parse_mac(text: str) -> bytes | None:
    if not text:
        return None
    from shibafu.lean.ip import parse_mac

    try:
        return parse_mac(text)
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG,
            f"invalid args {text} for MAC addr: {error}",
            "a hardware address is six pairs of hexadecimal digits, such as 02:42:0a:00:00:05, and that of "
            "a link is unicast: the lowest bit of its first byte is 0",
        ) from None


def _check_number(key: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value <= _MAX_NUMBER:
        raise CniError(INVALID_CONFIG, f"invalid {key} {value}", f'"{key}" must be 0 to {_MAX_NUMBER}')
    return value


def _parse_data_dir(text: str) -> str:
    if text and not text.startswith("/"):
        raise CniError(
            INVALID_CONFIG,
            f'invalid dataDir "{text}"',
            '"dataDir" must be an absolute path, since a relative one is another directory for each caller',
        )
    return text or DEFAULT_DATA_DIR


# What is read of a configuration, and of args.cni.
_KEYS = fold_keys(
    ("allmulti", "allmulti", _read_flag),
    ("mac", "mac", _read_text),
    ("mtu", "mtu", Section.number),
    ("promisc", "promisc", _read_flag),
    ("sysctl", "sysctl", _read_sysctl),
    ("txqlen", "txQLen", Section.number),
)
