#!/usr/bin/python3 -I
"""An OCI hook that calls the plugins of a network, as small runtimes have it done.

    hook.py ADD|DEL CONFLIST CNI_PATH      the container's state is read from standard input

A hook has an empty environment: the plugins get the protocol's variables and nothing else, no PATH.
"""

import json
import subprocess
import sys
from pathlib import Path


def main(verb: str, conflist: str, cni_path: str) -> None:
    """Call the plugins, in reverse order to take the container away."""
    state = json.load(sys.stdin)
    network = json.loads(Path(conflist).read_text())
    pid = state.get("pid")  # none after the container's end
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": state["id"],
        "CNI_NETNS": f"/proc/{pid}/ns/net" if pid else "",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": cni_path,
    }
    result = None
    for plugin in network["plugins"] if verb == "ADD" else reversed(network["plugins"]):
        config = plugin | {"name": network["name"], "cniVersion": network["cniVersion"]}
        if result is not None:
            config["prevResult"] = result
        answer = subprocess.run(
            [f"{cni_path}/{plugin['type']}"],
            input=json.dumps(config),
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if answer.returncode:
            sys.exit(f"{plugin['type']} failed: {answer.stdout}")
        result = json.loads(answer.stdout) if verb == "ADD" else None


if __name__ == "__main__":
    main(*sys.argv[1:])
