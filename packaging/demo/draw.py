"""Draw the demo's network: containers, bridge, host and outside, from the results of ADD.

    draw.py RESULTS [--colour] --host ADDRESS... --outside ADDRESS...
    draw.py RESULTS [--colour] --hosts NAME...

The second draws hosts side by side on one link, each with its container, in the order of the results.
RESULTS is a directory with one result of CNI 1.0.0 or later for each container, named as it.
"""

import argparse
import json
from pathlib import Path

WIDTH = 26  # of a container's box, its frame included
GAP = 4
JOINT = WIDTH // 2 - 1  # the column where the link leaves it
STEM = (" " * JOINT + "│").ljust(WIDTH)
# Of the box of a host that is one of several.
HOST_WIDTH = 30
HOST_GAP = 2
HOST_JOINT = HOST_WIDTH // 2
CODES = {"red": 31, "green": 32, "blue": 34}


class Container:
    """What a container's result says."""

    def __init__(self, path: Path) -> None:
        result = json.loads(path.read_text())
        self.name = path.name
        self.bridge, self.port, self.link = result["interfaces"]
        self.addresses = [ip["address"] for ip in result["ips"]]
        self.gateways = [f"{ip['gateway']}/{ip['address'].split('/')[1]}" for ip in result["ips"]]

    @property
    def box(self) -> list[str]:
        """The container's box, as lines, and its link below."""
        rows = [f"eth0 {self.link['mac']}", *self.addresses]
        return [
            f"┌─ {self.name} ".ljust(WIDTH - 1, "─") + "┐",
            *(f"│ {row}".ljust(WIDTH - 1) + "│" for row in rows),
            draw_edge("└", "┬", "┘", WIDTH, [JOINT]),
            STEM,
            self.port["name"].center(WIDTH),
            STEM,
        ]


def draw(containers: list[Container], host: list[str], outside: list[str], colour: bool) -> list[str]:
    """Return the lines of the drawing."""
    inner = len(containers) * (WIDTH + GAP) - GAP
    middle = inner // 2
    joints = [i * (WIDTH + GAP) + JOINT for i in range(len(containers))]
    bridge = f"bridge {containers[0].bridge['name']}   {'   '.join(containers[0].gateways)}"
    inside = [
        *draw_boxes(containers, colour),
        draw_edge("┌", "┴", "┐", inner, joints),
        f"│ {bridge}".ljust(inner - 1) + "│",
        draw_edge("└", "┬", "┘", inner, [middle]),
        (" " * middle + "│  routed and masqueraded (NAT)").ljust(inner),
        (" " * middle + f"│  eth0 {'   '.join(host)}").ljust(inner),
    ]
    world = f"│ outside   {'   '.join(outside)} │"
    left = middle + 3 - len(world) // 2
    return [
        "┌─ host ".ljust(inner + 5, "─") + "┐",
        *(f"│  {line}  │" for line in inside),
        draw_edge("└", "┬", "┘", inner + 6, [middle + 3]),
        " " * left + draw_edge("┌", "┴", "┐", len(world), [middle + 3 - left]),
        " " * left + world,
        " " * left + draw_edge("└", "", "┘", len(world), []),
    ]


def draw_hosts(containers: list[Container], hosts: list[str], colour: bool) -> list[str]:
    """Return the lines of a drawing of hosts on one link, each with a container."""
    boxes = []
    for number, (host, container) in enumerate(zip(hosts, containers, strict=True), 1):
        inside = [
            *paint(container, container.box[:-1], colour),
            f"bridge {container.bridge['name']}".ljust(WIDTH),
            *(f"  {gateway}".ljust(WIDTH) for gateway in container.gateways),
            "VXLAN flannel.1".ljust(WIDTH),
            f"eth0 192.0.2.{number}".ljust(WIDTH),
        ]
        boxes.append(
            [
                f"┌─ {host} ".ljust(HOST_WIDTH - 1, "─") + "┐",
                *(f"│ {line} │" for line in inside),
                draw_edge("└", "┬", "┘", HOST_WIDTH, [HOST_JOINT]),
            ]
        )
    joints = [number * (HOST_WIDTH + HOST_GAP) + HOST_JOINT for number in range(len(boxes))]
    link = draw_edge("═", "╧", "═", len(boxes) * (HOST_WIDTH + HOST_GAP) - HOST_GAP, joints)
    return [*((" " * HOST_GAP).join(rows) for rows in zip(*boxes, strict=True)), link.replace("─", "═")]


def draw_boxes(containers: list[Container], colour: bool) -> list[str]:
    """Return the containers' boxes side by side."""
    columns = [paint(container, container.box, colour) for container in containers]
    return [(" " * GAP).join(rows) for rows in zip(*columns, strict=True)]


def paint(container: Container, rows: list[str], colour: bool) -> list[str]:
    """Return a container's lines in its colour."""
    return [f"\x1b[{CODES[container.name]}m{row}\x1b[0m" for row in rows] if colour else rows


def draw_edge(left: str, joint: str, right: str, width: int, joints: list[int]) -> str:
    """Return a horizontal line of a box, with joints at the given columns."""
    return left + "".join(joint if column in joints else "─" for column in range(1, width - 1)) + right


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--host", nargs="+")
    parser.add_argument("--outside", nargs="+")
    parser.add_argument("--hosts", nargs="+")
    args = parser.parse_args()
    paths = sorted(args.results.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    containers = [Container(path) for path in paths]
    lines = (
        draw_hosts(containers, args.hosts, args.colour)
        if args.hosts
        else draw(containers, args.host, args.outside, args.colour)
    )
    for line in lines:
        print(f"  {line}")


if __name__ == "__main__":
    main()
