"""One call of a network's plugin, as a container runtime makes it (CNI specification 1.1.0, section 3).

    call.py VERB CONTAINER CONFLIST PLUGINS RESULTS

The container's namespace is /run/netns/CONTAINER, its interface eth0. Results are kept in the
directory RESULTS, one file for each container: CHECK and DEL get them back as prevResult.

Prints the milliseconds that the call took, a space, and for ADD the addresses.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE


def main() -> int:
    """Make the call; return the exit status."""
    verb, container, conflist, plugins, results = sys.argv[1:]
    network = json.loads(Path(conflist).read_text())
    (plugin,) = network["plugins"]  # a chain has more, and needs a real runtime
    config = plugin | {key: network[key] for key in ("cniVersion", "name")}
    kept = Path(results, container)
    if kept.exists():
        config["prevResult"] = json.loads(kept.read_text())
    env = os.environ | {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": f"demo-{container}",
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": plugins,
    }
    document = json.dumps(config).encode()
    program = f"{plugins}/{plugin['type']}"
    start = time.perf_counter()
    call = subprocess.run([program], env=env, input=document, stdout=PIPE, check=False)  # noqa: S603  # the user's
    duration = (time.perf_counter() - start) * 1000
    answer = json.loads(call.stdout) if call.stdout.strip() else {}
    if call.returncode:
        print(f"{verb} {container}: {answer.get('msg', 'no answer')}", file=sys.stderr)
        print(answer.get("details", ""), file=sys.stderr)
        return 1
    if verb == "ADD":
        kept.write_bytes(call.stdout)
    if verb == "DEL":
        kept.unlink(missing_ok=True)
    addresses = " ".join(ip["address"] for ip in answer.get("ips", []))
    print(f"{duration:.1f} {addresses}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
