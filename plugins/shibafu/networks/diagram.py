"""A network as a picture: the way out, the bridge, its ports, and the containers at their other ends."""

from shibafu.cni.names import STRICT, calc_bond
from shibafu.cni.rates import render_rate
from shibafu.networks.inspect import (
    UNPAIRED,
    BridgeState,
    Endpoint,
    NetworkView,
    ResourceFault,
    ResourceState,
)
from shibafu.networks.kernel import Traffic
from shibafu.networks.overlay_part import OverlayPart
from shibafu.networks.text import LIMIT_VERBS, Style, format_count, format_port, format_size, format_table

# Of an overlay may be a thousand.
_SHOWN_PEERS = 6
_GOOD = ("up", UNPAIRED)
_STATE_COLOURS = {"no carrier": "yellow", "down": "yellow"}
# Names are shown whole, cnitool's as well; runtimes' IDs of 64 digits are not.
_MAX_NAME = len("cnitool-") + 20


def draw_network(view: NetworkView, style: Style) -> list[str]:
    """Return the lines of a network's picture."""
    lines = [style.paint("bold", view.name) + f"  {view.path}, {' + '.join(view.plugins)}"]
    if view.problem:
        lines += [style.paint("red", f"its configuration is invalid: {view.problem}"), view.advice]
    if view.paused is not None:
        lines.append(style.paint("yellow", view.paused.describe()))
    lines += [style.paint("red", what) for what in view.broken]
    lines += [style.paint("red", f"✗ {fault.what}") for fault in _find_faults(view.resources)]
    lines += _draw_subnets(view)
    if view.shared_gateway is not None:
        lines.append(view.shared_gateway.describe())
        lines += [style.paint("red", f"✗ {one.describe()}") for one in view.shared_gateway.duplicates]
    if view.overlay is not None:
        lines += _draw_overlay(view.overlay)
    lines.append("")
    if view.bridge is not None:
        lines += _draw_way_out(view)
        lines += _draw_bridge(view.bridge, style, bool(view.endpoints or view.other_ports))
    lines += _draw_ports(view, style)
    if view.rules:
        lines += ["", *_draw_rules(view, style)]
    return lines


def _find_faults(resources: list[ResourceState]) -> list[ResourceFault]:
    return [fault for state in resources for fault in state.faults]


def _draw_subnets(view: NetworkView) -> list[str]:
    return [
        f"{use.subnet}: {use.first} to {use.last}, {use.used} used"
        + (f", {use.free} free" if use.usable < 1 << 32 else "")
        for use in view.subnets
    ]


def _draw_overlay(part: OverlayPart) -> list[str]:
    """Return what this host and the others have of an overlay."""
    subnets, networks = ", ".join(part.subnets), ", ".join(part.networks)
    lines = [f"this host's part of the overlay {networks}: {subnets}, mtu {part.mtu}"]
    shown = [f"{peer.subnet} by {peer.link}" for peer in part.peers[:_SHOWN_PEERS]]
    more = len(part.peers) - len(shown)
    if shown:
        lines.append(f"other hosts' parts: {', '.join(shown)}" + (f" and {more} more" if more else ""))
    return lines


def _draw_way_out(view: NetworkView) -> list[str]:
    """Return what is between the bridge and the world: nothing without a gateway on the host."""
    if view.bridge is None or not view.bridge.addresses:
        return []
    masquerading = [rule for rule in view.rules if "MASQUERADE" in rule.text or "masquerade" in rule.text]
    if not masquerading:
        return ["     the world", "       │"]
    counted = sum(rule.packets or 0 for rule in masquerading)
    return ["     the world", f"       │  masquerades, {format_count(counted, 'connection')} so far"]


def _draw_bridge(bridge: BridgeState, style: Style, has_ports: bool) -> list[str]:
    isolated = ", strictly isolated" if bridge.isolated == STRICT else ", isolated" if bridge.isolated else ""
    rows = [f"{bridge.name}  bridge, {bridge.state}{isolated}", *bridge.addresses]
    if bridge.mac:
        rows.append(f"{bridge.mac}  mtu {bridge.mtu}")
    width = max(map(len, rows))
    colour = "green" if bridge.state in _GOOD else "red" if bridge.state == "missing" else "yellow"
    is_gateway = bool(bridge.addresses)
    top = " ┌" + ("─" * 5 + "┴" + "─" * max(0, width - 4) if is_gateway else "─" * (width + 2)) + "┐"
    width = len(top) - 5
    lines = [top]
    for number, row in enumerate(rows):
        padded = row.ljust(width)
        lines.append(f" │ {style.paint(colour, padded) if number == 0 else padded} │")
    lines.append(" └" + ("─┬" + "─" * width if has_ports else "─" * (width + 2)) + "┘")
    return lines


def _draw_ports(view: NetworkView, style: Style) -> list[str]:
    if not view.endpoints and not view.other_ports:
        return ["   no containers"]
    rows = [_calc_cells(endpoint) for endpoint in view.endpoints]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = []
    last = len(rows) + len(view.other_ports) - 1
    for number, (row, endpoint) in enumerate(zip(rows, view.endpoints, strict=True)):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        link, ifname, container, addresses, state, traffic = cells
        is_good = endpoint.state in _GOOD
        faults = _find_faults(endpoint.resources)
        cable = "────" if is_good and not faults else "─✗──"
        colour = "green" if is_good else _STATE_COLOURS.get(endpoint.state, "red")
        corner = "└" if number == last else "├"
        line = f"   {corner}─ {link} {cable} {ifname}  {style.paint('cyan', container)}  {addresses}"
        line += f"  {style.paint(colour, state)}  {style.paint('dim', traffic)}"
        lines.append((line + style.paint("red", _format_faults(faults))).rstrip())
        margin = ("    " if number == last else "   │").ljust(len(f"   {corner}─ {link} {cable} {ifname}  "))
        settings = [_describe_ports(endpoint), _describe_limits(endpoint), _describe_routes(endpoint)]
        wrapped = [part for text in settings if text for part in style.wrap(text, len(margin))]
        lines += [margin + part for part in wrapped]
    uplinks = _find_uplinks(view.resources)
    for number, name in enumerate(view.other_ports, len(rows)):
        corner = "└" if number == last else "├"
        what = "uplink" if name in uplinks else "no container's"
        lines.append(f"   {corner}─ {name}  " + style.paint("dim", what))
    return lines


def _find_uplinks(resources: list[ResourceState]) -> set[str]:
    """Return the links that lead out of the bridge, and the bond that they may be in."""
    stated = [state.attributes for state in resources if state.resource == "uplinks"]
    links = {link for one in stated for link in one["links"]}
    return links | {calc_bond(one["bridge"]) for one in stated}


def _describe_ports(endpoint: Endpoint) -> str:
    """Return the host's ports that lead to a container; empty for none."""
    published = [s.attributes["portMappings"] for s in endpoint.resources if s.resource == "publishedPorts"]
    ports = [format_port(mapping) for mappings in published for mapping in mappings]
    return f"publishes {', '.join(ports)}" if ports else ""


def _describe_limits(endpoint: Endpoint) -> str:
    """Return how fast a container may receive and send; empty for no limit."""
    limits = [state.attributes for state in endpoint.resources if state.resource == "rateLimit"]
    return " and ".join(
        f"{LIMIT_VERBS[limit['limits']]} at most {render_rate(limit['rate'])}" for limit in limits
    )


def _describe_routes(endpoint: Endpoint) -> str:
    """Return words for a container whose default route is another network's; empty if it is this one's."""
    others = [name.replace("ip", "IP") for name, counts in endpoint.default_routes.items() if not counts]
    return f"another network leads out by {' and '.join(others)}" if others else ""


def _format_faults(faults: list[ResourceFault]) -> str:
    """Return the first fault, and how many more there are; empty for none."""
    if not faults:
        return ""
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"  ✗ {faults[0].what}{others}"


def _calc_cells(endpoint: Endpoint) -> tuple[str, ...]:
    return (
        endpoint.host_link or ("-" if endpoint.state == UNPAIRED else "?"),
        endpoint.ifname,
        endpoint.container_id if len(endpoint.container_id) <= _MAX_NAME else endpoint.container_id[:12],
        ", ".join(endpoint.addresses) or "no address",
        endpoint.state,
        _format_traffic(endpoint.traffic) if endpoint.traffic is not None else "",
    )


def _format_traffic(traffic: Traffic) -> str:
    """Return what a container has received and sent."""
    return f"↓ {format_size(traffic.rx_bytes)} ↑ {format_size(traffic.tx_bytes)}"


def _draw_rules(view: NetworkView, style: Style) -> list[str]:
    # That they are this network's need not be said again in each.
    comment = f'-m comment --comment "shibafu network {view.name}" '
    rows = []
    for rule in view.rules:
        packets = "-" if rule.packets is None else str(rule.packets)
        size = "" if rule.bytes is None else format_size(rule.bytes)
        rows.append((rule.family, rule.table, rule.chain, packets, size, rule.text.replace(comment, "")))
    return format_table(("FAMILY", "TABLE", "CHAIN", "PACKETS", "BYTES", "RULE"), rows, style)
