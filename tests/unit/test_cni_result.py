"""What ADD answers, in the shape of each version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni import errors
from shibafu.cni.config import Section, parse_dns
from shibafu.cni.errors import CniError
from shibafu.cni.result import (
    Interface,
    IPConfig,
    Result,
    Route,
    parse_prev_result,
    parse_result,
    parse_route,
)
from shibafu.cni.version import SUPPORTED
from shibafu.lean.ip import Address, Cidr, parse_address, parse_cidr

OLDEST, MIDDLE, NEWEST = SUPPORTED[:2], SUPPORTED[2:5], SUPPORTED[5:]


def full_result() -> Result:
    return Result(
        [
            Interface("cni0", "02:00:00:00:00:01"),
            Interface("veth0", "02:00:00:00:00:02"),
            Interface("eth0", "02:00:00:00:00:03", "/run/netns/c", mtu=1400),
        ],
        [
            IPConfig(parse_cidr("10.1.0.5/24"), parse_address("10.1.0.1"), 2),
            IPConfig(parse_cidr("fd00::5/64"), None, 2),
            IPConfig(parse_cidr("10.2.0.5/24"), parse_address("10.2.0.1"), 2),
        ],
        [
            Route(parse_cidr("0.0.0.0/0"), parse_address("10.1.0.1"), mtu=1300, priority=7, table=0),
            Route(parse_cidr("::/0"), advmss=1200, scope=253),
        ],
        {"nameservers": ["10.1.0.1"], "domain": "local"},
    )


@pytest.mark.parametrize("version", NEWEST)
def test_the_newest_shape(version: str) -> None:
    assert full_result().to_json(version) == {
        "cniVersion": version,
        "dns": {"nameservers": ["10.1.0.1"], "domain": "local"},
        "interfaces": [
            {"name": "cni0", "mac": "02:00:00:00:00:01"},
            {"name": "veth0", "mac": "02:00:00:00:00:02"},
            {"name": "eth0", "mac": "02:00:00:00:00:03", "mtu": 1400, "sandbox": "/run/netns/c"},
        ],
        "ips": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 2},
            {"address": "fd00::5/64", "interface": 2},
            {"address": "10.2.0.5/24", "gateway": "10.2.0.1", "interface": 2},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1300, "priority": 7, "table": 0},
            {"dst": "::/0", "advmss": 1200, "scope": 253},
        ],
    }


@pytest.mark.parametrize("version", MIDDLE)
def test_the_middle_shape_tells_the_family_and_knows_little_of_routes_and_links(version: str) -> None:
    assert full_result().to_json(version) == {
        "cniVersion": version,
        "dns": {"nameservers": ["10.1.0.1"], "domain": "local"},
        "interfaces": [
            {"name": "cni0", "mac": "02:00:00:00:00:01"},
            {"name": "veth0", "mac": "02:00:00:00:00:02"},
            {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/c"},
        ],
        "ips": [
            {"version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 2},
            {"version": "6", "address": "fd00::5/64", "interface": 2},
            {"version": "4", "address": "10.2.0.5/24", "gateway": "10.2.0.1", "interface": 2},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0"}],
    }


@pytest.mark.parametrize("version", OLDEST)
def test_the_oldest_shape_has_one_address_a_family(version: str) -> None:
    assert full_result().to_json(version) == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.1.0.5/24",
            "gateway": "10.1.0.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        },
        "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "::/0"}]},
        "dns": {"nameservers": ["10.1.0.1"], "domain": "local"},
    }


@pytest.mark.parametrize("version", SUPPORTED)
def test_empty_parts(version: str) -> None:
    if version in OLDEST:
        with pytest.raises(CniError, match=r"^cannot convert: no valid IP addresses$") as caught:
            Result().to_json(version)
        assert caught.value.code == errors.UNSUPPORTED_FIELD
    elif version in MIDDLE:
        assert Result().to_json(version) == {"cniVersion": version, "dns": {}}
    else:
        assert Result().to_json(version) == {"cniVersion": version}


@pytest.mark.parametrize("version", NEWEST)
def test_keys_stand_in_alphabetical_order(version: str) -> None:
    answer = full_result().to_json(version)
    assert list(answer) == sorted(answer)


ADDRESSES = st.ip_addresses().filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None)
TEXT = st.text("abc/:_é", min_size=1, max_size=8)
NUMBER = st.integers(0, 2**32 - 1)


@st.composite
def cidrs(draw: st.DrawFn) -> Cidr:
    ip = draw(ADDRESSES)
    return Cidr(Address.from_packed(ip.packed), draw(st.integers(0, ip.max_prefixlen)))


GATEWAYS = st.none() | ADDRESSES.map(lambda ip: Address.from_packed(ip.packed))
RESULTS = st.builds(
    Result,
    st.lists(
        st.builds(Interface, TEXT, TEXT, st.just("") | TEXT, NUMBER, st.just("") | TEXT, TEXT), max_size=3
    ),
    st.lists(st.builds(IPConfig, cidrs(), GATEWAYS, st.none() | st.integers(0, 3)), min_size=1, max_size=3),
    st.lists(
        st.builds(
            Route,
            cidrs(),
            GATEWAYS,
            NUMBER,
            NUMBER,
            NUMBER,
            st.none() | NUMBER,
            st.none() | st.integers(0, 255),
        ),
        max_size=3,
    ),
    st.fixed_dictionaries({}, optional={"nameservers": st.lists(TEXT, min_size=1), "domain": TEXT}),
)


@given(RESULTS, st.sampled_from(SUPPORTED))
def test_a_result_survives_the_way_to_the_runtime_and_back(result: Result, version: str) -> None:
    # What a version cannot express is lost once and for all; the rest never is.
    answer = result.to_json(version)
    again = parse_result(Section(answer, "Result"))
    assert again.to_json(version) == answer


@given(RESULTS)
def test_the_newest_version_loses_nothing(result: Result) -> None:
    again = parse_result(Section(result.to_json("1.1.0"), "Result"))
    assert again.to_json("0.4.0") == result.to_json("0.4.0")
    assert again.to_json("0.2.0") == result.to_json("0.2.0")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"cniVersion": "2.0.0"}, 'unsupported CNI result version "2.0.0"'),
        ({"cniVersion": "1.1.0", "ips": [{"address": "bogus"}]}, "invalid CIDR address: bogus"),
        ({"cniVersion": "1.1.0", "ips": [{}]}, "invalid CIDR address: "),
        ({"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.1"}}, "invalid CIDR address: 10.0.0.1"),
        ({"cniVersion": "1.1.0", "ips": ["x"]}, "cannot unmarshal string"),
        ({"cniVersion": "1.1.0", "routes": [{"dst": "10.0.0.0/8", "gw": "x"}]}, "invalid IP address: x"),
    ],
)
def test_what_is_no_result(value: dict[str, object], message: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_result(Section(value, "Result"))
    assert message in caught.value.msg


def test_a_result_without_a_version_is_of_the_first() -> None:
    result = parse_result(Section({"ip4": {"ip": "10.0.0.5/8"}}, "Result"))
    assert [str(ip.address) for ip in result.ips] == ["10.0.0.5/8"]


def test_keys_of_results_match_without_regard_to_case() -> None:
    section = Section({"CNIVersion": "1.0.0", "IPs": [{"Address": "10.0.0.5/8", "Gateway": ""}]}, "Result")
    assert parse_result(section).to_json("1.0.0") == {
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.0.0.5/8"}],
    }


@pytest.mark.parametrize("bad", [{}, {"dst": "x"}, {"dst": "10.0.0.1"}, {"dst": "::/0", "gw": "x"}])
def test_a_bad_route_says_what_it_needs(bad: dict[str, object]) -> None:
    with pytest.raises(CniError) as caught:
        parse_route(Section(bad, "routes"))
    assert caught.value.code == errors.INVALID_CONFIG
    assert "a route needs" in caught.value.details


def test_dns_without_the_empty_parts() -> None:
    assert parse_dns(
        Section({"nameservers": [], "domain": "", "search": ["a"], "Options": ["b"]}, "dns")
    ) == {
        "search": ["a"],
        "options": ["b"],
    }


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("stated", SUPPORTED)
def test_prev_result_must_be_of_the_same_group_of_versions(version: str, stated: str) -> None:
    prev_result = full_result().to_json(stated)
    config = Section({"prevResult": prev_result}, "NetConf")
    group = next(group for group in (OLDEST, MIDDLE, NEWEST) if version in group)
    if stated in group:
        parsed = parse_prev_result(config, version)
        assert parsed is not None
        assert parsed.to_json(stated) == prev_result
    else:
        with pytest.raises(CniError) as caught:
            parse_prev_result(config, version)
        assert caught.value.code == errors.INVALID_CONFIG
        assert caught.value.msg == (
            f"could not parse prevResult: result type supports [{' '.join(group)}] "
            f'but unmarshalled CNIVersion is "{stated}"'
        )


def test_prev_result_may_be_absent_or_lack_its_version() -> None:
    assert parse_prev_result(Section({}, "NetConf"), "1.0.0") is None
    section = Section({"prevResult": {"ips": [{"address": "10.0.0.5/8"}]}}, "NetConf")
    parsed = parse_prev_result(section, "1.0.0")
    assert parsed is not None
    assert len(parsed.ips) == 1
