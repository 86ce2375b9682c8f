"""The engine's way back from the namespaces that it trains in."""

import os
import subprocess
import sys

_ROUNDS = 300
_LEAVE = f"""
import os, time
from _thread import _count, start_new_thread
from shibafu.engine.caller import CLONE_NEWNS
from shibafu.engine.warmup import wait_for_tasks
from shibafu.netlink.libc import load_libc_function

place = os.open("/proc/self/ns/mnt", os.O_RDONLY)
load_libc_function("unshare")(CLONE_NEWNS)
for _ in range({_ROUNDS}):
    start_new_thread(time.sleep, (0.0005,))
    while _count():
        pass
    wait_for_tasks()
    load_libc_function("setns")(place, CLONE_NEWNS)
"""


def test_a_thread_that_ends_keeps_nobody() -> None:
    """The kernel refuses this with EINVAL between a thread's last line of Python and its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _LEAVE], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
