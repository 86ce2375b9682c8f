"""Random policies for the cluster of `policy_cases`, as plain documents that the API accepts."""

from hypothesis import strategies as st

from support.policy_cases import NAMES, NAMESPACES, policy
from support.policy_oracle import Document

_BLOCKS = ("10.9.0.0/24", "10.9.0.8/29", "10.9.0.12/30", "10.0.0.0/8", "0.0.0.0/0", "fd09::/64", "::/0")
_PARTS = {
    "10.9.0.0/24": ["10.9.0.12/31", "10.9.0.14/32", "10.9.0.0/28"],
    "10.0.0.0/8": ["10.9.0.0/24", "10.9.1.0/24"],
    "0.0.0.0/0": ["0.0.0.0/1", "10.9.0.11/32"],
    "fd09::/64": ["fd09::14/128", "fd09::8/125"],
    "::/0": ["fd09::/16", "fd09:0:0:1::/64"],
}


_ABSENT = "absent"


def _documents(**keys: st.SearchStrategy[object]) -> st.SearchStrategy[Document]:
    """Return mappings in which each key is stated, null or absent; mostly stated."""
    stated = {key: st.one_of(value, value, value, st.none(), st.just(_ABSENT)) for key, value in keys.items()}
    return st.fixed_dictionaries(stated).map(
        lambda one: {key: value for key, value in one.items() if value != _ABSENT}
    )


def selectors(key: str, values: tuple[str, ...]) -> st.SearchStrategy[Document]:
    """Return selectors of a label."""
    compared = st.fixed_dictionaries(
        {
            "key": st.sampled_from((key, "other")),
            "operator": st.sampled_from(("In", "NotIn")),
            "values": st.lists(st.sampled_from(values), min_size=1, max_size=3),
        }
    )
    present = st.fixed_dictionaries(
        {"key": st.sampled_from((key, "other")), "operator": st.sampled_from(("Exists", "DoesNotExist"))}
    )
    labels = st.fixed_dictionaries({"matchLabels": st.fixed_dictionaries({key: st.sampled_from(values)})})
    expressions = st.fixed_dictionaries(
        {"matchExpressions": st.lists(compared | present, min_size=1, max_size=2)}
    )
    return st.one_of(
        st.sampled_from(({}, {"matchLabels": None}, {"matchExpressions": []})),
        labels,
        expressions,
        st.tuples(labels, expressions).map(lambda both: both[0] | both[1]),
    )


def blocks() -> st.SearchStrategy[Document]:
    """Return blocks of addresses, with or without exceptions."""
    return st.sampled_from(_BLOCKS).flatmap(
        lambda cidr: st.fixed_dictionaries(
            {"cidr": st.just(cidr)},
            optional={"except": st.lists(st.sampled_from(_PARTS[cidr]), max_size=2)}
            if cidr in _PARTS
            else {},
        )
    )


def peers() -> st.SearchStrategy[Document]:
    """Return entries of `from` and `to`."""
    pods, spaces = selectors("pod", NAMES), selectors("ns", NAMESPACES)
    return st.one_of(
        st.fixed_dictionaries({"podSelector": pods}, optional={"namespaceSelector": st.none() | spaces}),
        st.fixed_dictionaries({"namespaceSelector": spaces}, optional={"podSelector": st.none() | pods}),
        st.fixed_dictionaries({"ipBlock": blocks()}),
    )


def ports() -> st.SearchStrategy[Document]:
    """Return entries of `ports`."""
    protocols = st.none() | st.sampled_from(("TCP", "UDP", "SCTP"))
    names = st.sampled_from(("serve-80-tcp", "serve-81-udp", "nobody"))
    starts, lengths = st.integers(77, 81), st.none() | st.integers(0, 4)
    ranges = st.tuples(starts, lengths).map(
        lambda both: {"port": both[0]} | ({} if both[1] is None else {"endPort": both[0] + both[1]})
    )
    nothing: st.SearchStrategy[Document] = st.just({})
    stated = st.one_of(nothing, st.fixed_dictionaries({"port": names}), ranges, ranges)
    return st.tuples(_documents(protocol=protocols), stated).map(lambda both: both[0] | both[1])


def specs() -> st.SearchStrategy[Document]:
    """Return what policies say."""
    incoming = _documents(**{"from": st.lists(peers(), max_size=3), "ports": st.lists(ports(), max_size=3)})
    outgoing = _documents(to=st.lists(peers(), max_size=3), ports=st.lists(ports(), max_size=3))
    return _documents(
        policyTypes=st.lists(st.sampled_from(("Ingress", "Egress")), max_size=2, unique=True),
        ingress=st.lists(incoming, max_size=3),
        egress=st.lists(outgoing, max_size=3),
    )


def policies(max_size: int = 4) -> st.SearchStrategy[list[Document]]:
    """Return policies that have different names."""
    one = st.tuples(selectors("pod", NAMES), st.sampled_from(NAMESPACES), specs())
    return st.lists(one, max_size=max_size).map(
        lambda stated: [
            policy(f"p{number}", pods, namespace, **spec)
            for number, (pods, namespace, spec) in enumerate(stated)
        ]
    )
