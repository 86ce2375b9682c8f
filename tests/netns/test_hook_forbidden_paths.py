"""What shibafu-hook takes for the same place, and for writable: with random bind mounts of the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

import shibafu

# Bind mounts between random directories of a file system; then for each as a container's source, every
# directory whose inode the container would meet has to be one that the source covers.
_PROGRAM = """
import os, random, subprocess, sys
sys.path.insert(0, sys.argv[1])
from shibafu.hook.container import Source
from shibafu.hook.mounts import identify_mount, read_mounts
from shibafu.hook.forbidden_paths import ForbiddenPaths, identify

def mount(*args):
    subprocess.run(["mount", *args], check=True)

def opened(path, look):
    descriptor = os.open(path, os.O_PATH)
    try:
        return look(descriptor)
    finally:
        os.close(descriptor)

def walk(top):
    for path, names, _ in os.walk(top):
        yield path
        # Mounts of a directory inside of itself show it once more, and so on.
        del names[8 if path.count("/") < 8 else 0:]

def location(path):
    return opened(path, lambda descriptor: read_mounts().locate(*identify_mount(descriptor)))

seed = int(sys.argv[2])
choose = random.Random(seed)
names = ["a", "b c", "d\\\\e"]
mount("-t", "tmpfs", "tmpfs", "/mnt")
os.mkdir("/mnt/container")
os.mkdir("/mnt/host")
for one in names:
    for two in names:
        os.makedirs(f"/mnt/host/{one}/{two}/f")
for _ in range(8):
    places = list(walk("/mnt/host"))
    mount(choose.choice(["--bind", "--rbind"]), choose.choice(places), choose.choice(places[1:]))
places = list(walk("/mnt/host"))
seen = {}
for path in places:
    seen.setdefault(location(path), set()).add(identify(os.stat(path)))
assert all(len(identities) == 1 for identities in seen.values()), seen
assert len(set(map(frozenset, seen.values()))) == len(seen), seen
refused = found = 0
for source in choose.sample(places, min(len(places), 10)):
    for is_deep in (False, True):
        mount("--rbind" if is_deep else "--bind", source, "/mnt/container")
        reachable = {identify(os.stat(path)) for path in walk("/mnt/container")}
        subprocess.run(["umount", "-l", "/mnt/container"], check=True)
        territory = ForbiddenPaths(()).with_locations([Source(source, True, is_deep)])
        for path in places:
            chain = [path[:end] for end in range(len(path) + 1) if path[end : end + 1] in ("", "/")]
            on_the_way = {identify(os.stat(above)) for above in chain if above.startswith("/mnt/host")}
            covered = opened(path, territory.covers)
            if reachable & on_the_way:
                assert covered, (source, is_deep, path)
            refused += covered
            found += 1
assert 0 < refused < found
"""


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_container_reaches_is_covered(seed: int) -> None:
    plugins = Path(shibafu.__path__[0]).parent
    unshare = ["unshare", "--mount", "--propagation", "private"]
    done = subprocess.run(
        [*unshare, sys.executable, "-c", _PROGRAM, plugins, str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
