"""What etcd has: keys, and the leases that they go with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredValue:
    """A key, and what etcd has under it.

    Args:
        key: all of it.
        value: the value.
        lease: the number of the lease that it goes with; 0 for none.
        modified: the revision that it was written last in.
    """

    key: str
    value: bytes
    lease: int
    modified: int


@dataclass(frozen=True)
class StoreListing:
    """All keys of a prefix at one moment.

    Args:
        values: the keys.
        revision: of the store at that moment.
        cluster: which store it is: one that was restored from a backup is another one.
    """

    values: tuple[StoredValue, ...]
    revision: int
    cluster: str


@dataclass(frozen=True)
class LeaseTime:
    """A lease's time, in seconds.

    Args:
        age: how long ago it was renewed.
        left: until it ends, if it is not renewed.
    """

    age: int
    left: int
