"""The reference plugins' masquerading rules, removed on behalf of containers that they attached.

They made a chain for each container, `CNI-` and the start of a hash, and a jump to it from POSTROUTING
for each of its addresses (pkg/utils/utils.go, pkg/ip/ipmasq_iptables_linux.go of the reference).
"""

from shibafu.cni.process import Child, find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CHAIN_LENGTH = 28


def calc_reference_chain(network: str, container_id: str) -> str:
    """Return the name of the chain of one container on one network."""
    try:
        from _sha512 import sha512  # type: ignore[import-not-found]  # typeshed does not know it
    except ImportError:  # an interpreter that keeps it elsewhere
        from hashlib import sha512

    digest: str = sha512((network + container_id).encode()).hexdigest()
    return f"CNI-{digest}"[:_CHAIN_LENGTH]


def teardown_reference_masquerade(network: str, container_id: str, env: "Mapping[str, str]") -> None:
    """Remove the container's chain and the jumps to it, in both families, where they are."""
    chain = calc_reference_chain(network, container_id)
    programs = [find_program(name, env.get("PATH", "")) for name in ("iptables-restore", "ip6tables-restore")]
    listing = "*nat\n-S POSTROUTING\nCOMMIT\n"
    children = [(program, _start(program, listing, env)) for program in programs if program]
    for program, child in children:
        lines = child.wait()[1].decode("utf-8", "replace").splitlines()
        jumps = [line for line in lines if line.startswith("-A ") and line.endswith(f" -j {chain}")]
        if jumps:
            removal = [f"-D {jump[3:]}" for jump in jumps] + [f"-F {chain}", f"-X {chain}"]
            _start(program, "\n".join(["*nat", *removal, "COMMIT", ""]), env).wait()


def _start(program: str, text: str, env: "Mapping[str, str]") -> Child:
    return Child(program, [program, "--noflush", "--wait", "30"], env, text.encode(), keep_stderr=True)
