"""Ratios that are not to be exceeded, by the rows' names; `bench/run.sh --check` holds them."""

TARGETS = {
    "NAT: ADD": 0.55,
    "NAT: DEL": 0.30,
    "NAT: CHECK": 1.25,
    "NAT, dual stack: ADD": 0.40,
    "NAT, dual stack: DEL": 0.25,
    "NAT, dual stack: CHECK": 1.25,
    "no NAT: ADD": 1.10,
    "no NAT: DEL": 1.00,
    "no NAT: CHECK": 1.25,
    "IPAM with 10,000 leases: ADD": 0.10,
    "IPAM with 10,000 leases: DEL": 0.10,
    "IPAM with 60,000 leases: ADD": 1.15,
    "IPAM with 60,000 leases: DEL": 1.15,
    "ADD as the 200th container": 1.15,
    "32 ADDs with NAT at once": 0.45,
    "iperf3: plain bridge": 1.05,
}
