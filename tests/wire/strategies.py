"""Random values of the kinds that netlink messages hold."""

from ipaddress import ip_network

from hypothesis import strategies as st

indexes = st.integers(1, 2**31 - 1)
mtus = st.integers(0, 2**32 - 1)
vids = st.integers(1, 4094)
macs = st.binary(min_size=6, max_size=6)
names = st.text(
    st.characters(codec="ascii", exclude_characters="/: ", exclude_categories=["Cc"]), min_size=1, max_size=15
)
ips = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@st.composite
def addresses(draw: st.DrawFn) -> tuple[bytes, int]:
    """Addresses with a prefix length that their family allows."""
    ip = draw(ips)
    return ip, draw(st.integers(0, len(ip) * 8))


@st.composite
def networks(draw: st.DrawFn) -> tuple[bytes, int]:
    """Networks: address without host bits, and prefix length."""
    ip, prefix = draw(addresses())
    return ip_network((ip, prefix), strict=False).network_address.packed, prefix
