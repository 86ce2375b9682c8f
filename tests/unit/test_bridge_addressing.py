"""Gateways and routes, worked out from what IPAM gave."""

import pytest

from shibafu.bridge.addressing import complete_result, resolve_gateway
from shibafu.bridge.config import BridgeConfig
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.result import IPConfig, Result, Route
from shibafu.lean.ip import parse_address, parse_cidr
from support.calls import make_request


def config(**keys: object) -> BridgeConfig:
    return BridgeConfig(make_request(keys))


def ip(address: str, gateway: str = "") -> IPConfig:
    return IPConfig(parse_cidr(address), parse_address(gateway) if gateway else None)


def route(dst: str, gw: str = "", **properties: int) -> Route:
    return Route(parse_cidr(dst), parse_address(gw) if gw else None, **properties)


def texts(routes: list[Route]) -> list[tuple[str, str]]:
    return [(str(r.dst), str(r.gw or "")) for r in routes]


def test_without_a_gateway_only_the_interface_is_filled_in() -> None:
    result = Result(ips=[ip("10.1.0.5/24"), ip("fd00::5/64", "fd00::1")])
    complete_result(config(), result)
    assert [i.interface for i in result.ips] == [2, 2]
    assert [str(i.gateway or "") for i in result.ips] == ["", "fd00::1"]
    assert result.routes == []


def test_the_gateway_is_ipams_or_the_first_of_the_subnet() -> None:
    result = Result(ips=[ip("10.1.0.5/24"), ip("10.2.0.5/24", "10.2.0.254"), ip("fd00::5/64")])
    complete_result(config(isGateway=True), result)
    assert [str(i.gateway) for i in result.ips] == ["10.1.0.1", "10.2.0.254", "fd00::1"]
    assert result.routes == []


@pytest.mark.parametrize("address", ["255.255.255.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"])
def test_an_address_that_no_gateway_comes_after(address: str) -> None:
    with pytest.raises(CniError) as caught:
        complete_result(config(isGateway=True), Result(ips=[ip(address)]))
    assert (caught.value.code, address in caught.value.msg) == (INVALID_CONFIG, True)
    result = Result(ips=[ip(address, "10.1.0.1" if "." in address else "fd00::1")])
    complete_result(config(isGateway=True), result)
    assert [str(i.gateway) for i in result.ips] == ["10.1.0.1" if "." in address else "fd00::1"]


def test_one_gateway_for_two_addresses_of_a_subnet() -> None:
    result = Result(ips=[ip("10.1.0.5/24"), ip("10.1.0.6/24")])
    complete_result(config(isGateway=True), result)
    assert [str(i.gateway) for i in result.ips] == ["10.1.0.1", "10.1.0.1"]


def test_each_family_gets_one_default_route() -> None:
    result = Result(ips=[ip("10.1.0.5/24"), ip("10.2.0.5/24"), ip("fd00::5/64")])
    complete_result(config(isDefaultGateway=True), result)
    assert texts(result.routes) == [("0.0.0.0/0", "10.1.0.1"), ("::/0", "fd00::1")]


@pytest.mark.parametrize("gw", ["", "10.1.0.9"])
def test_a_default_route_of_ipam_is_kept(gw: str) -> None:
    result = Result(ips=[ip("10.1.0.5/24")], routes=[route("0.0.0.0/0", gw), route("192.168.0.0/16")])
    complete_result(config(isDefaultGateway=True), result)
    assert texts(result.routes) == [("0.0.0.0/0", gw or "10.1.0.1"), ("192.168.0.0/16", "")]


def test_a_default_route_of_another_table_is_no_default_route() -> None:
    result = Result(ips=[ip("10.1.0.5/24")], routes=[route("0.0.0.0/0", "10.1.0.9", table=100)])
    complete_result(config(isDefaultGateway=True), result)
    assert texts(result.routes) == [("0.0.0.0/0", "10.1.0.9"), ("0.0.0.0/0", "10.1.0.1")]


def test_next_hops() -> None:
    ips = [ip("10.1.0.5/24", "10.1.0.1"), ip("10.2.0.5/24", "10.2.0.1"), ip("fd00::5/64", "fd00::1")]
    assert str(resolve_gateway(route("192.168.0.0/16"), ips)) == "10.1.0.1"
    assert str(resolve_gateway(route("192.168.0.0/16", "10.2.0.9"), ips)) == "10.2.0.9"
    assert str(resolve_gateway(route("fd01::/16"), ips)) == "fd00::1"
    assert resolve_gateway(route("fd01::/16"), ips[:2]) is None
    assert resolve_gateway(route("192.168.0.0/16"), [ip("10.1.0.5/24")]) is None


@pytest.mark.parametrize(("scope", "has_gateway"), [(0, True), (200, True), (253, False), (254, False)])
def test_a_route_of_the_links_scope_has_no_gateway(scope: int, has_gateway: bool) -> None:
    hop = resolve_gateway(route("192.168.0.0/16", scope=scope), [ip("10.1.0.5/24", "10.1.0.1")])
    assert (hop is not None) == has_gateway
