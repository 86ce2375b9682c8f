"""What the command does with networks: make, list, inspect, repair and remove them.

It knows neither arguments nor terminals, which are the business of `shibafu.cli`. People call it, so that
imports are free here, unlike in the plugins.
"""
