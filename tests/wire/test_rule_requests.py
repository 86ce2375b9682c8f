"""Requests about routing rules, as pyroute2 reads them."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from shibafu.netlink import constants as c
from shibafu.netlink.inet import calc_family
from shibafu.netlink.rule import SourceRule, rule_add, rule_del
from support.pyroute2_view import decode
from wire.strategies import ips

numbers = st.integers(1, 2**32 - 1)


@given(ips, numbers, numbers)
def test_add_and_delete(source: bytes, table: int, priority: int) -> None:
    rule = SourceRule(source, table, priority)
    for request, kind, flags in (
        (rule_add(rule), c.RTM_NEWRULE, c.NLM_F_CREATE | c.NLM_F_EXCL),
        (rule_del(rule), c.RTM_DELRULE, 0),
    ):
        fields, attrs = decode(request)
        assert (request.type, request.flags) == (kind, flags)
        assert (fields["family"], fields["src_len"]) == (calc_family(source), len(source) * 8)
        assert fields["action"] == 1
        assert attrs == [
            ("FRA_SRC", str(ip_address(source))),
            ("FRA_TABLE", table),
            ("FRA_PRIORITY", priority),
        ]
