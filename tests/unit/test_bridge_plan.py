"""What an attachment is made of."""

import importlib
import pkgutil
from inspect import getattr_static

import pytest

from shibafu.bridge import resources
from shibafu.bridge.config import BridgeConfig
from shibafu.bridge.kinds import list_kinds
from shibafu.resource.base import Resource
from support.calls import make_request


@pytest.fixture
def kinds() -> set[type[Resource]]:
    """All kinds of resources of the bridge, without those that others are derived from."""
    for module in pkgutil.iter_modules(resources.__path__, f"{resources.__name__}."):
        importlib.import_module(module.name)
    found: set[type[Resource]] = set()
    new = set(Resource.__subclasses__())
    while new:
        found |= new
        new = {inner for kind in new for inner in kind.__subclasses__()}
    made = {kind for kind in found if not kind.__subclasses__()}
    return {kind for kind in made if kind.__module__.startswith(resources.__name__)}


def test_status_asks_all_that_know_of_obstacles(kinds: set[type[Resource]]) -> None:
    rules = BridgeConfig(make_request({"ipMasq": True, "macspoofchk": True}))
    internal = BridgeConfig(make_request({"internal": True}))
    ranges = [[{"subnet": "10.7.0.0/24", "rangeStart": "10.7.0.10"}]]
    keys = {"isGateway": True, "gatewayHA": "vrrp", "gatewayHostIP": ["10.7.0.2/24"]}
    shared = BridgeConfig(make_request(keys | {"ipam": {"type": "shibafu-ipam", "ranges": ranges}}))
    redundant = BridgeConfig(make_request({"uplinks": ["eth1", "eth2"]}))
    asked = {kind for config in (rules, internal, shared, redundant) for kind in list_kinds(config)}
    knows_of_none = getattr_static(Resource, "obstacle")
    assert asked == {kind for kind in kinds if getattr_static(kind, "obstacle") is not knows_of_none}
