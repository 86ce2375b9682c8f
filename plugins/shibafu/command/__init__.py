"""The `shibafu` command: networks that people can see, make, mend and take apart.

A subcommand is one file in `network`, `ipam` or `link`, and thin: it names its arguments, calls what
lies here, and prints. What lies here knows neither arguments nor terminals.

It is called by people, so that imports are free here, unlike in the plugins; nothing imports it.
"""
