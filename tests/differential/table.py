"""The whole table."""

from differential import table_bridge, table_ipam, table_newer, table_protocol, table_results, table_state
from differential.case import Case

CASES: tuple[Case, ...] = (
    *table_protocol.CASES,
    *table_results.CASES,
    *table_bridge.CASES,
    *table_state.CASES,
    *table_ipam.CASES,
    *table_newer.CASES,
)
