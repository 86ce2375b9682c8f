"""Draw the demo's network: containers, bridge, host and outside, from the results of ADD.

    draw.py RESULTS [--colour] --host ADDRESS... --outside ADDRESS...

RESULTS is a directory with one result of CNI 1.0.0 or later for each container, named as it.
"""

import argparse
import json
from pathlib import Path

WIDTH = 26  # of a container's box, its frame included
GAP = 4
JOINT = WIDTH // 2 - 1  # the column where the link leaves it
STEM = (" " * JOINT + "│").ljust(WIDTH)
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
        """The container's box, as lines."""
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


def draw_boxes(containers: list[Container], colour: bool) -> list[str]:
    """Return the containers' boxes side by side."""
    columns = [c.box for c in containers]
    if colour:
        codes = [CODES[c.name] for c in containers]
        columns = [
            [f"\x1b[{code}m{row}\x1b[0m" for row in rows] for code, rows in zip(codes, columns, strict=True)
        ]
    return [(" " * GAP).join(rows) for rows in zip(*columns, strict=True)]


def draw_edge(left: str, joint: str, right: str, width: int, joints: list[int]) -> str:
    """Return a horizontal line of a box, with joints at the given columns."""
    return left + "".join(joint if column in joints else "─" for column in range(1, width - 1)) + right


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--host", nargs="+", required=True)
    parser.add_argument("--outside", nargs="+", required=True)
    args = parser.parse_args()
    paths = sorted(args.results.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for line in draw([Container(path) for path in paths], args.host, args.outside, args.colour):
        print(f"  {line}")


if __name__ == "__main__":
    main()
