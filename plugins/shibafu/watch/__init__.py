"""The watcher: what networks' containers have lost is restored as soon as the kernel announces the loss.

It is `shibafu network repair` on events: the same faults, the same repair. What is inside containers is told,
and healed where the network's configuration says so.

It also has another one take over where something is there twice: uplinks of a bridge (failover.py) and
routers of the host (routers/). It reports two hosts that have the same gateway (gateway_duplicates.py).
"""
