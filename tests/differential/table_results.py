"""The shape of the bridge plugin's result in each version of the specification."""

from differential.case import REFUSED, Case
from differential.samples import DUAL, R4, R6, V4, ipam

_ROUTES = [{"dst": "10.8.0.0/16"}, {"dst": "fd08::/16", "gw": "fd00:1::9"}]
_DNS = {"nameservers": ["10.1.0.53"], "search": ["example.org"]}


def _shapes(version: str) -> tuple[Case, ...]:
    stated = {"cniVersion": version}
    return (
        Case(f"version-{version}-ipv4", stated | {"isDefaultGateway": True, "ipam": V4}),
        Case(f"version-{version}-dual-stack", stated | {"isGateway": True, "ipam": DUAL}),
        Case(f"version-{version}-layer-2", stated),
        Case(
            f"version-{version}-dns-and-routes", stated | {"ipam": ipam(R4, R6, routes=_ROUTES), "dns": _DNS}
        ),
    )


CASES = (
    *_shapes("0.1.0"),
    *_shapes("0.2.0"),
    *_shapes("0.3.0"),
    *_shapes("0.3.1"),
    *_shapes("0.4.0"),
    *_shapes("1.0.0"),
    Case("version-absent", {"cniVersion": None, "ipam": V4}),
    Case("version-empty", {"cniVersion": "", "ipam": V4}),
    Case("version-unknown", {"cniVersion": "1.2.0", "ipam": V4}, calls=REFUSED),
    Case("version-incomplete", {"cniVersion": "1.0", "ipam": V4}, calls=REFUSED),
    Case("version-number", {"cniVersion": 1, "ipam": V4}, calls=REFUSED),
)
