"""Requests of traffic control, as pyroute2 reads them, and answers that it makes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.netlink import constants as c
from shibafu.netlink.codec import attr_nested, parse_attrs
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.netlink.socket import NetlinkRequest
from shibafu.netlink.traffic_control import (
    Filter,
    Qdisc,
    TokenBucket,
    filter_del,
    filter_redirect,
    qdisc_add_ingress,
    qdisc_del_ingress,
    qdisc_del_root,
    qdisc_del_tbf,
    qdisc_replace_tbf,
)
from support.pyroute2_view import decode
from wire.strategies import indexes

numbers = st.integers(0, 2**32 - 1)
ROOT, INGRESS = (0x10000, 0xFFFFFFFF), (0xFFFF0000, 0xFFFFFFF1)
# Priority 1, all protocols, in network byte order.
ALL = 1 << 16 | 0x0300
U32 = 0x80000800


def header(index: int, handle: int, parent: int, info: int = 0) -> dict[str, Any]:
    return {
        "family": 0,
        "pad1": 0,
        "pad2": 0,
        "index": index,
        "handle": handle,
        "parent": parent,
        "info": info,
    }


def parameters(rate: int, limit: int, buffer: int) -> dict[str, int]:
    """Return what tc(8) sends of a token bucket, without a peak rate; 1 is Ethernet."""
    none = dict.fromkeys(("cell_log", "overhead", "cell_align", "mpu"), 0)
    return {
        **{f"{kind}_{name}": value for kind in ("rate", "peak") for name, value in none.items()},
        "rate___reserved": 1,
        "peak___reserved": 0,
        "rate": rate,
        "peak": 0,
        "limit": limit,
        "buffer": buffer,
        "mtu": 0,
    }


@given(indexes, numbers, numbers, numbers)
def test_token_bucket(index: int, rate: int, limit: int, buffer: int) -> None:
    request = qdisc_replace_tbf(index, TokenBucket(rate, limit, buffer))
    fields, attrs = decode(request)
    # An existing one is changed in place.
    assert (request.type, request.flags) == (c.RTM_NEWQDISC, c.NLM_F_CREATE | c.NLM_F_REPLACE)
    assert fields == header(index, *ROOT)
    options = [("TCA_TBF_PARMS", parameters(rate, limit, buffer))]
    assert attrs == [("TCA_KIND", "tbf"), ("TCA_OPTIONS", options)]


@given(st.integers(1, 2**64 - 1), numbers, numbers)
def test_token_bucket_is_read_as_it_was_written(rate: int, limit: int, buffer: int) -> None:
    options = read_options(qdisc_replace_tbf(1, TokenBucket(rate, limit, buffer)))
    found = Qdisc("tbf", 0x10000, options).token_bucket
    assert found is not None
    assert (found.rate, found.limit, found.buffer) == (rate, limit, buffer)
    assert (c.TCA_TBF_RATE64 in parse_attrs(options)) == (rate >= 1 << 32)
    assert Qdisc("htb", 0x10000, options).token_bucket is None


def read_options(request: NetlinkRequest) -> bytes:
    return parse_attrs(request.payload, 20)[c.TCA_OPTIONS]


@given(indexes)
def test_ingress(index: int) -> None:
    add, delete = qdisc_add_ingress(index), qdisc_del_ingress(index)
    assert (add.type, add.flags, delete.type) == (c.RTM_NEWQDISC, c.NLM_F_CREATE, c.RTM_DELQDISC)
    assert decode(add) == decode(delete) == (header(index, *INGRESS), [("TCA_KIND", "ingress")])


@given(indexes)
def test_del_token_bucket(index: int) -> None:
    """Only what has this handle, and is of this kind."""
    assert qdisc_del_tbf(index).type == c.RTM_DELQDISC
    assert decode(qdisc_del_tbf(index)) == (header(index, *ROOT), [("TCA_KIND", "tbf")])


@given(indexes)
def test_del_root(index: int) -> None:
    assert qdisc_del_root(index).type == c.RTM_DELQDISC
    assert decode(qdisc_del_root(index)) == (header(index, 0, ROOT[1]), [])


@given(indexes, indexes)
def test_redirection(index: int, target: int) -> None:
    request = filter_redirect(index, target)
    fields, attrs = decode(request)
    assert (request.type, request.flags) == (c.RTM_NEWTFILTER, c.NLM_F_CREATE)
    assert fields == header(index, U32, INGRESS[0], ALL)
    kind, (name, options) = attrs
    assert (kind, name) == (("TCA_KIND", "u32"), "TCA_OPTIONS")
    found = dict(options)
    assert found["TCA_U32_SEL"]["keys"] == [
        dict.fromkeys(("key_mask", "key_val", "key_off", "key_offmask"), 0)
    ]
    assert (found["TCA_U32_SEL"]["flags"], found["TCA_U32_CLASSID"]) == (c.TC_U32_TERMINAL, 0x10001)
    stolen = {"index": 0, "capab": 0, "action": 4, "refcnt": 0, "bindcnt": 0, "eaction": 1, "ifindex": target}
    action = [("TCA_ACT_KIND", "mirred"), ("TCA_ACT_OPTIONS", [("TCA_MIRRED_PARMS", stolen)])]
    assert found["TCA_U32_ACT"] == [("TCA_ACT_PRIO_1", action)]


@given(indexes, st.integers(1, 2**16 - 1), numbers)
def test_del_filter(index: int, priority: int, handle: int) -> None:
    request = filter_del(index, Filter("u32", handle, priority, []))
    assert request.type == c.RTM_DELTFILTER
    fields = header(index, handle, INGRESS[0], priority << 16 | 0x0300)
    assert decode(request) == (fields, [("TCA_KIND", "u32")])


def test_options_of_no_token_bucket_are_refused() -> None:
    with pytest.raises(NetlinkDecodeError):
        _ = Qdisc("tbf", 0x10000, attr_nested(c.TCA_TBF_PARMS)).token_bucket
