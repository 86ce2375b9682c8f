"""Another release of Debian in a folder, made by debootstrap(8), with this tree in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENTER = Path(__file__).with_name("enter.sh")
# It installs what it needs; later there is no network.
BUILD = "packaging/build.sh"
REQUIREMENTS = ("packaging/requirements-build.txt", "tests/requirements.txt")
# What the tests need that are run in there. build.sh finds out by itself what it needs.
PACKAGES = (
    *("python3", "iptables", "nftables", "iproute2", "ipset", "conntrack", "iputils-ping", "procps"),
    *("strace", "tcpdump", "containernetworking-plugins", "runc", "busybox-static"),
    *("golang-github-containers-common", "skopeo", "umoci", "xz-utils", "fish", "zsh", "mandoc"),
)
# Where they are in there.
TREE, WHEELS = "/srv/shibafu", "/srv/wheels"
# No service is started: invoke-rc.d(8) and deb-systemd-invoke(1p) ask this program.
POLICY = "#!/bin/sh\nexit 101\n"


class Debian:
    """A release of Debian that programs are run in.

    The folder stays for the next time, until other packages or libraries are needed.

    Args:
        release: its code name.
        directory: where its files are kept.
    """

    def __init__(self, release: str, directory: Path) -> None:
        self.release = release
        self.directory = directory
        self.root = directory / "root"
        self.tree = directory / "root" / TREE[1:]

    def run(self, *command: str, network: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a program in the tree and return what came of it, errors among the output.

        Args:
            command: the program and its arguments.
            network: whether it is in the network namespace of this machine, not in an empty one.
        """
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        if not network:
            namespaces.append("--net")
            command = ("/bin/sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "DIRECTORY": TREE,
            # What pip installs, this machine has fetched: it knows how.
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": WHEELS,
        }
        return subprocess.run(
            ["/usr/bin/unshare", *namespaces, ENTER, self.root, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def check_run(self, *command: str, network: bool = False) -> str:
        """Run a program that succeeds; return its output."""
        done = self.run(*command, network=network)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ensure(self) -> None:
        """Make it where it is missing, copy this tree as it is now into it, and build the executables."""
        needs = "\n".join([*PACKAGES, *((ROOT / name).read_text() for name in (*REQUIREMENTS, BUILD))])
        stamp = self.directory / "needs"
        if not stamp.exists() or stamp.read_text() != needs:
            shutil.rmtree(self.directory, ignore_errors=True)
            self._make_root()
            self._copy_tree()
            self._fetch_wheels()
            # Installs packages, as on any machine that lacks them.
            self.check_run(BUILD, network=True)
            self.check_run("python3", "-m", "venv", ".venv")
            self.check_run(".venv/bin/pip", "install", "-qq", "--require-hashes", "-r", REQUIREMENTS[1])
            stamp.write_text(needs)
        self._copy_tree()
        self.check_run(BUILD)

    def _make_root(self) -> None:
        self.root.mkdir(parents=True)
        mirror = find_mirror()
        log = self.directory / "debootstrap.log"
        with log.open("w") as output:
            made = subprocess.run(
                ["/usr/sbin/debootstrap", "--variant=minbase", self.release, self.root, mirror],
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert made.returncode == 0, log.read_text()
        for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
            if os.path.exists(file):
                (self.root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, self.root / file[1:])
        # Proxies and the like.
        settings = subprocess.check_output(["/usr/bin/apt-config", "dump", "Acquire"], text=True)
        (self.root / "etc/apt/apt.conf.d/90machine").write_text(settings)
        policy = self.root / "usr/sbin/policy-rc.d"
        policy.write_text(POLICY)
        policy.chmod(0o755)
        self.tree.mkdir(parents=True)
        self.check_run("apt-get", "update", network=True)
        self.check_run("apt-get", "install", "-y", "--no-install-recommends", *PACKAGES, network=True)

    def _copy_tree(self) -> None:
        """Replace the tree, but for the virtual environments."""
        for path in self.tree.iterdir():
            if path.is_file():
                path.unlink()
            elif path.name not in (".venv", ".venv-build"):
                shutil.rmtree(path)
        listed = subprocess.check_output(
            ["/usr/bin/git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            text=True,
        )
        for name in listed.split("\0"):
            source, target = ROOT / name, self.tree / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target, follow_symlinks=False)

    def _fetch_wheels(self) -> None:
        version = self.check_run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
        fetch += ["--only-binary=:all:", "--python-version", version.strip()]
        for name in REQUIREMENTS:
            command = [*fetch, "--dest", str(self.root / WHEELS[1:]), "--requirement", str(ROOT / name)]
            subprocess.run(command, check=True)


def find_mirror() -> str:
    """Return the URL of the Debian archive that this machine installs from."""
    listed = subprocess.check_output(
        ["/usr/bin/apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"],
        text=True,
    )
    mirrors = [line.split()[1] for line in listed.splitlines() if line.startswith("Debian ")]
    assert mirrors, "apt-get update has not been run, or this machine installs from no Debian archive"
    return mirrors[0]
