"""Ratios that are not to be exceeded, by the rows' names and the sides'; `bench/run.sh --check` holds them.

The limits of cold starts are what these took when the engine was added, plus a quarter.
"""

from collections.abc import Mapping

TARGETS: Mapping[str, Mapping[str, float]] = {
    "VERSION": {"engine": 0.45, "cold": 3.40},
    "no NAT: ADD": {"engine": 0.45, "cold": 1.65},
    "no NAT: CHECK": {"engine": 0.30, "cold": 1.60},
    "no NAT: DEL": {"engine": 0.15, "cold": 0.68},
    "NAT: ADD": {"engine": 0.32, "cold": 0.83},
    "NAT: CHECK": {"engine": 0.30, "cold": 2.10},
    "NAT: DEL": {"engine": 0.06, "cold": 0.22},
    "NAT, dual stack: ADD": {"engine": 0.32, "cold": 0.53},
    "NAT, dual stack: CHECK": {"engine": 0.30, "cold": 2.00},
    "NAT, dual stack: DEL": {"engine": 0.04, "cold": 0.13},
    "NAT, beside another: ADD": {"engine": 0.25, "cold": 0.85},
    "NAT, beside another: CHECK": {"engine": 0.30, "cold": 2.10},
    "NAT, beside another: DEL": {"engine": 0.06, "cold": 0.22},
    "NAT, dual stack, beside another: ADD": {"engine": 0.20, "cold": 0.53},
    "NAT, dual stack, beside another: CHECK": {"engine": 0.30, "cold": 2.00},
    "NAT, dual stack, beside another: DEL": {"engine": 0.04, "cold": 0.13},
    "the chain: ADD": {"engine": 0.25, "cold": 0.80},
    "the chain: DEL": {"engine": 0.10, "cold": 0.30},
    "32 ADDs with NAT at once": {"engine": 0.30, "cold": 0.69},
    "32 DELs with NAT at once": {"engine": 0.12, "cold": 0.23},
    "IPAM with 0 leases: ADD": {"engine": 0.50},
    "IPAM with 0 leases: DEL": {"engine": 0.50},
    "IPAM with 10,000 leases: ADD": {"engine": 0.10, "cold": 0.10},
    "IPAM with 10,000 leases: DEL": {"engine": 0.10, "cold": 0.10},
    "IPAM with 60,000 leases: ADD": {"this many": 1.15},
    "IPAM with 60,000 leases: DEL": {"this many": 1.15},
    "rules": {"engine": 1.0},
    "bridge grown: ADD": {"the 200th": 1.15},
    "iperf3: plain bridge": {"plain namespaces": 1.05},
}


def find_targets(row: str) -> Mapping[str, float]:
    """Return the targets of a row, by the sides' names."""
    return TARGETS.get(row, {})
