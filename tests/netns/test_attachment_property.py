"""Of each configuration: what ADD makes is sound, what breaks is named and mended, and DEL leaves nothing.

By the table of the differential tests, with shibafu alone.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from json import dumps
from multiprocessing import get_context
from os.path import isdir
from pathlib import Path
from pkgutil import walk_packages

import pytest

import shibafu.bridge
from differential import table_bridge, table_newer, table_results, table_state
from differential.case import REFUSED, Case
from netns.attached import REFERENCE
from netns.attachment_lives import Broken, break_each, live
from netns.breakage import Breakage
from netns.breakages import BREAKAGES, NETWORKS, REFERENCE_NETWORK
from netns.breakages_shared_gateway import SHARED_GATEWAY
from netns.forked_calls import enter_laboratory
from shibafu.resource.base import Resource
from support.suite import Suite

TABLE = table_bridge.CASES + table_newer.CASES + table_state.CASES + table_results.CASES
# What is wrong after ADD, since it was before.
WRONG = {
    "address-elsewhere-in-container": ("lost: from the container to its gateway 10.1.0.1",),
    "masquerade-backend-nftables-forward-policy-drop": (
        "chain FORWARD of table ip filter drops what is sent",
        "lost: to the world by IPv4",
    ),
}
# Why it does not break as others do.
UNLIKE = {
    "default-route-elsewhere-in-container": "where the route is gone, the other one is there",
    "mtu-below-ipv6-minimum": "its links have no switches of IPv6",
    "newest-route-scope": "its route states a gateway that is none",
    "newest-route-table": "its route is in another table",
}
# What `inspect` prints, and somebody has tried to break; a shared gateway in test_gateway_ha.py.
ATTRIBUTES = {breakage.attribute for breakage in (*BREAKAGES, *SHARED_GATEWAY)}
DOCS = Path(__file__).parents[2] / "docs"
_QUOTED = re.compile("`(.*?)`")
# Of what cannot be mended, what cannot be broken on one attachment alone.
ELSEWHERE = {
    "Networks on one bridge of which only one is isolated",  # test_cli_repair.py
    "A container on a bridge that is no longer the network's",  # test_cli_repair.py
    "An attachment that a killed call left unfinished",  # test_cli_records.py
    "A bridge that the host does not route by",  # test_policy_rerouting.py
    "What later plugins of the chain made",  # test_cli_chains.py
}


def select_configurations() -> Iterator[Case]:
    """Yield a case of each configuration that may be attached, with what is there before."""
    known = set()
    for case in TABLE:
        first = case.calls[0]
        is_plain = first.verb == "ADD" and not (first.config or first.env or first.stdin)
        what = dumps([case.config, case.env, case.setup], default=vars)
        if case.plugin == "bridge" and case.calls != REFUSED and is_plain and what not in known:
            known.add(what)
            yield case


CONFIGURATIONS = list(select_configurations())


@pytest.fixture(scope="module")
def laboratory(suite: Suite) -> Iterator[ProcessPoolExecutor]:
    """A process with file systems of its own, in which the plugins and the command are called."""
    if suite.is_built:
        pytest.skip("it calls the sources, without a process for each call")
    plugins = {name: f"{suite.directory}/{name}" for name in ("bridge", "host-local")}
    if isdir(REFERENCE):
        plugins |= {"static": f"{REFERENCE}/static"}
    with ProcessPoolExecutor(1, get_context("spawn"), enter_laboratory, (plugins,)) as process:
        yield process


def skip_without(refusal: str) -> None:
    """Skip what the kernel cannot do."""
    if "VLAN filtering" in refusal:
        pytest.skip(refusal)


# The usual suite has a quarter of the lives; the differential tests attach and detach all of them.
LIVES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.long] if number % 4 else [])
    for number, case in enumerate(CONFIGURATIONS)
]


@pytest.mark.parametrize("case", LIVES)
def test_life(laboratory: ProcessPoolExecutor, case: Case) -> None:
    life = laboratory.submit(live, case).result()
    skip_without(life.refusal)
    expected = WRONG.get(case.name, ())
    # CHECK and the dry run say the same.
    wrong = list(dict.fromkeys(life.wrong))
    assert len(wrong) == len(expected), wrong
    assert all(what.startswith(said) for what, said in zip(wrong, expected, strict=True)), wrong
    assert life.changed == []
    assert life.left == []
    assert life.described <= ATTRIBUTES


def break_all(
    laboratory: ProcessPoolExecutor, network: Case, breakages: list[Breakage], **options: bool
) -> Broken:
    """Break what a network's container has; see that all of it is named and mended."""
    broken = laboratory.submit(break_each, network, breakages, **options).result()
    skip_without(broken.refusal)
    assert broken.problems == []
    assert broken.described <= ATTRIBUTES
    return broken


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_what_breaks_is_named_and_mended(laboratory: ProcessPoolExecutor, network: Case) -> None:
    """By CHECK and the dry run in the same words; then packets flow."""
    breakages = [breakage for breakage in BREAKAGES if breakage.network == network.name]
    assert break_all(laboratory, network, breakages).unfit == []


@pytest.mark.skipif(not isdir(REFERENCE), reason="the reference plugins are not installed")
def test_what_breaks_of_a_container_of_the_reference(laboratory: ProcessPoolExecutor) -> None:
    breakages = [breakage for breakage in BREAKAGES if breakage.network == "reference"]
    assert break_all(laboratory, REFERENCE_NETWORK, breakages, is_reference=True).unfit == []


@pytest.mark.long
@pytest.mark.parametrize("case", CONFIGURATIONS, ids=lambda case: case.name)
def test_whatever_breaks_in_any_configuration(laboratory: ProcessPoolExecutor, case: Case) -> None:
    if case.name in WRONG or case.name in UNLIKE:
        pytest.skip(UNLIKE.get(case.name, "it is broken before"))
    breakages = [breakage for breakage in BREAKAGES if breakage.network != "reference"]
    break_all(laboratory, case, breakages, is_first=False)


def test_every_resource_has_breakages() -> None:
    """Also those that no configuration above has."""
    for module in walk_packages(shibafu.bridge.__path__, "shibafu.bridge."):
        import_module(module.name)
    # Other tests may have imported those of the command.
    kinds = [kind for kind in find_kinds(Resource) if kind.__module__.startswith("shibafu.bridge.")]
    names = {kind.__name__ for kind in kinds if "describe" in vars(kind)}
    assert names == {attribute.partition(".")[0] for attribute in ATTRIBUTES}


def find_kinds(kind: type[Resource]) -> Iterator[type[Resource]]:
    """Yield all classes that are derived from one."""
    for derived in kind.__subclasses__():
        yield derived
        yield from find_kinds(derived)


def test_the_list_of_what_cannot_be_mended_is_complete() -> None:
    section = (
        (DOCS / "operation.md").read_text().partition("### What a repair cannot fix")[2].partition("\n###")[0]
    )
    listed = set(re.findall(r"(?m)^- \*\*(.*?)\*\*", section))
    assert listed == {breakage.listed for breakage in BREAKAGES if breakage.listed} | ELSEWHERE


def test_the_manual_tells_all_that_inspect_prints() -> None:
    section = (DOCS / "commands.md").read_text().partition("### Resources")[2].partition("\n#")[0]
    rows = re.findall(r"(?m)^\| (`[a-z].*?) \| (.*) \|$", section)
    told = {
        f"{kind}.{name}"
        for kinds, names in rows
        for kind in _QUOTED.findall(kinds)
        for name in _QUOTED.findall(names)
    }
    # Nobody is asked for leases. test_uplink_bond.py and test_uplink_tree.py break what only some kernels
    # have, and what forwards nothing for some seconds after a repair.
    printed = {one[0].lower() + one[1:] for one in ATTRIBUTES if not one.startswith("AddressLease.")}
    assert told - {"resource.attributes", "uplinks.bond", "uplinks.stp"} == printed
