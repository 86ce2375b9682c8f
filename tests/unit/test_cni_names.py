"""Names that become paths, links and chains."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni.names import (
    calc_chain,
    calc_comment,
    calc_digest,
    calc_file_name,
    calc_host_veth,
    is_host_veth,
    is_valid_identifier,
)

GRAMMAR = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")


@given(st.one_of(st.text(max_size=20), st.text("aZ0_.-/ ", max_size=10)))
def test_identifiers_follow_the_specifications_grammar(name: str) -> None:
    assert is_valid_identifier(name) == (GRAMMAR.fullmatch(name) is not None)


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "é", "a\0", "٣"])
def test_what_could_escape_a_directory_or_a_rule_is_no_identifier(name: str) -> None:
    assert not is_valid_identifier(name)


# GC is given names that are no text, too.
ANYTHING = st.text(st.characters())


@given(ANYTHING, ANYTHING, ANYTHING)
def test_computed_names_fit_the_kernel(network: str, container: str, ifname: str) -> None:
    link = calc_host_veth(network, container, ifname)
    assert is_host_veth(link)
    assert re.fullmatch(r"veth[0-9a-f]{11}", link)
    assert len(link) < 16
    chain = calc_chain(network)
    assert re.fullmatch(r"SHIBAFU-[0-9a-f]{16}", chain)
    assert len(chain) <= 28


@pytest.mark.parametrize(
    "name", ["veth0", "veth1a2b3c4d", "vethXYZ01234567", "eth012345678901", "", "veth1a2b3c4d5e67"]
)
def test_links_of_others_are_called_differently(name: str) -> None:
    assert not is_host_veth(name)


def test_each_part_counts_and_parts_do_not_run_together() -> None:
    names = {
        calc_host_veth("net", "c1", "eth0"),
        calc_host_veth("net", "c1", "eth1"),
        calc_host_veth("net", "c2", "eth0"),
        calc_host_veth("net2", "c1", "eth0"),
        calc_host_veth("netc", "1", "eth0"),
    }
    assert len(names) == 5


def test_names_never_change() -> None:
    # DEL finds what the ADD of another release made.
    assert calc_host_veth("net", "c1", "eth0") == "veth12a7f5f8c3f"
    assert calc_chain("net") == "SHIBAFU-1216c97069c787f0"
    assert len(calc_digest("a", size=5)) == 10


def test_names_of_files_and_comments_are_not_too_long() -> None:
    assert calc_file_name("network", "web") == "network-web"
    names = {calc_file_name("network", "n" * length) for length in (246, 247, 248, 249, 1000)}
    assert len(names) == 5
    assert all(len(name) <= 255 for name in names)
    assert calc_comment("web") == "shibafu network web"
    assert len(calc_comment("n" * 255)) == 128
