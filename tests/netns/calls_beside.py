"""Calls of plugins beside a watcher, some of which are killed."""

import random
import time

from support.machine import Config, Machine


def come_and_go(machine: Machine, config: Config, container: str, count: int) -> None:
    """Attach and detach a container again and again; a third of the calls are killed."""
    for number in range(count):
        add = machine.start("ADD", config, container)
        if number % 3 == 1:
            time.sleep(random.uniform(0.0, 0.1))
            add.kill()
        else:
            # Without its bridge, which somebody deletes, it may fail.
            add.finish()
        if number % 3 == 2:
            delete = machine.start("DEL", config, container)
            time.sleep(random.uniform(0.0, 0.1))
            delete.kill()
        machine.delete(config, container)
