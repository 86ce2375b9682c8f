"""The resident engine: runs the calls of plugins in processes that have started before they are needed.

    launcher.c (packaging/freeze)   what a runtime executes; hands its call over, or starts the plugin cold
    __main__    shibafu-engine, the executable: loads everything once
    parent      keeps spares ready, counts what they did, ends with its installation
    sole_engine the lock and the sockets that one engine of an installation has
    entrance    where launchers connect, and spares wait for them
    worker      a spare: waits for one call, does it, ends
    caller      who calls, whether the engine may work for them, and becoming like them
    announced_output  standard output, of which the launcher hears before anything is printed
    protocol    what launcher and worker say to each other, and workers to the parent
    pages       gives a spare its own memory while it waits
    warmup      calls in a namespace of their own, so that those that count find everything warm
    metrics     which calls were served and which went cold, for `shibafu engine status` and Prometheus
    location    where an installation's engine listens
    programs    which executables it serves
    imports     what each call imports, for the build and the tests
    systemd     what the service manager is told

A call is still a process of its own, which runs `main` once and ends: no state passes from call to call.
"""
