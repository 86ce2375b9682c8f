"""One call of a network's plugins, as a container runtime makes it (CNI specification 1.1.0, section 3).

    call.py VERB CONTAINER CONFLIST PLUGINS RESULTS [CAPABILITIES]

The container's namespace is /run/netns/CONTAINER, its interface eth0. Results are kept in the
directory RESULTS, one file for each container: CHECK and DEL get them back as prevResult.
CAPABILITIES is what the user asked for, by capability, as JSON: a plugin gets what it declares.

Prints the milliseconds that the call took, a space, and for ADD the addresses.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any


def main() -> int:
    """Call all plugins of the chain, for DEL the last first; return the exit status."""
    verb, container, conflist, plugins, results, *more = sys.argv[1:]
    network = json.loads(Path(conflist).read_text())
    asked = json.loads(more[0]) if more else {}
    kept = Path(results, container)
    result = json.loads(kept.read_text()) if kept.exists() else {}
    env = os.environ | {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": f"demo-{container}",
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": plugins,
    }
    duration = 0.0
    for plugin in network["plugins"][:: -1 if verb == "DEL" else 1]:
        document = json.dumps(build_config(network, plugin, asked, result)).encode()
        program = f"{plugins}/{plugin['type']}"
        start = time.perf_counter()
        call = subprocess.run([program], env=env, input=document, stdout=PIPE, check=False)  # noqa: S603  # the user's
        duration += (time.perf_counter() - start) * 1000
        answer = json.loads(call.stdout) if call.stdout.strip() else {}
        if call.returncode:
            print(f"{verb} {container}: {answer.get('msg', 'no answer')}", file=sys.stderr)
            print(answer.get("details", ""), file=sys.stderr)
            return 1
        if verb == "ADD":
            result = answer
    if verb == "ADD":
        kept.write_text(json.dumps(result))
    if verb == "DEL":
        kept.unlink(missing_ok=True)
    addresses = " ".join(ip["address"] for ip in result.get("ips", [])) if verb == "ADD" else ""
    print(f"{duration:.1f} {addresses}")
    return 0


def build_config(
    network: dict[str, Any], plugin: dict[str, Any], asked: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """Return the configuration that a plugin gets."""
    config = plugin | {key: network[key] for key in ("cniVersion", "name")}
    config["runtimeConfig"] = {key: asked[key] for key in asked if plugin.get("capabilities", {}).get(key)}
    if result:
        config["prevResult"] = result
    return config


if __name__ == "__main__":
    sys.exit(main())
