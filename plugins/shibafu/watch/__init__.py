"""The watcher: what networks' containers have lost is restored as soon as the kernel announces the loss.

It is `shibafu network repair` on events: the same faults, the same repair. What is inside containers is told,
and healed where the network's configuration says so.
"""
