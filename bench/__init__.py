"""Measures shibafu against the reference plugins and netavark; bench/run.sh prepares what this needs."""
