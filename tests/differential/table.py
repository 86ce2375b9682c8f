"""The whole table."""

from differential import (
    table_bandwidth,
    table_bridge,
    table_firewall,
    table_ipam,
    table_newer,
    table_portmap,
    table_protocol,
    table_results,
    table_state,
    table_tuning,
)
from differential.case import Case

CASES: tuple[Case, ...] = (
    *table_protocol.CASES,
    *table_results.CASES,
    *table_bridge.CASES,
    *table_state.CASES,
    *table_ipam.CASES,
    *table_newer.CASES,
    *table_bandwidth.CASES,
    *table_firewall.CASES,
    *table_portmap.CASES,
    *table_tuning.CASES,
)
