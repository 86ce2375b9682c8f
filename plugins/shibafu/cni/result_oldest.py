"""Results of the versions 0.1.0 and 0.2.0, which have one address of each family and no interfaces."""

from shibafu.cni.config import Section, parse_dns
from shibafu.cni.errors import UNSUPPORTED_FIELD, CniError
from shibafu.cni.result import IPConfig, Result, parse_routes
from shibafu.lean.ip import parse_address, parse_cidr


def render_oldest(result: Result, version: str) -> dict[str, object]:
    """Return `ip4` and `ip6`: the first address of each family with that family's routes.

    Raises:
        CniError: there is no address.
    """
    fields: dict[str, object] = {"cniVersion": version}
    for ip_version in (4, 6):
        ips = [ip for ip in result.ips if ip.address.version == ip_version]
        if not ips:
            continue
        entry: dict[str, object] = {"ip": str(ips[0].address)}
        if ips[0].gateway is not None:
            entry["gateway"] = str(ips[0].gateway)
        routes = [r.to_json(version) for r in result.routes if r.dst.version == ip_version]
        if routes:
            entry["routes"] = routes
        fields[f"ip{ip_version}"] = entry
    if not result.ips:
        raise CniError(
            UNSUPPORTED_FIELD,
            "cannot convert: no valid IP addresses",
            f'a result of version "{version}" needs an address: add "ipam", or use 0.3.0 or later',
        )
    return fields | {"dns": result.dns}


def parse_oldest(section: Section) -> Result:
    """Parse such a result.

    Raises:
        CniError: a value is of the wrong type.
        ValueError: an address is none.
    """
    result = Result(dns=parse_dns(section.section("dns")))
    for key in ("ip4", "ip6"):
        if key not in section:
            continue
        entry = section.section(key)
        gateway = entry.text("gateway")
        result.ips.append(IPConfig(parse_cidr(entry.text("ip")), parse_address(gateway) if gateway else None))
        result.routes += parse_routes(entry)
    return result
