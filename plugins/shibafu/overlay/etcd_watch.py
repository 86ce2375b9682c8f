"""Watching a prefix of etcd, without losing a change unnoticed.

etcd3gw's own watcher passes over the answers that say that a watch has been cancelled, or that its revision
has been compacted, and over the end of a stream.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shibafu.overlay.etcd import (
    EtcdClient,
    calc_range_end,
    decode_value,
    encode_value,
)
from shibafu.overlay.etcd_failures import EtcdError, EtcdUnavailableError
from shibafu.overlay.stored import StoreListing

_COMPACTED = "etcd has compacted what this host has missed"
_RESTORED = "etcd has been restored from a backup"


class HistoryLostError(EtcdError):
    """What has changed since a revision cannot be had: all keys have to be listed again.

    Args:
        message: why.
        is_restored: whether the store has gone back in time, so that keys may be missing.
    """

    def __init__(self, message: str, is_restored: bool = False) -> None:
        super().__init__(message)
        self.is_restored = is_restored


@dataclass(frozen=True)
class Change:
    """A change of a key: how a store is recognized as the one that made it.

    Args:
        key: which key.
        revision: that it made.
        is_deletion: whether the key was deleted by it.
    """

    key: str
    revision: int
    is_deletion: bool = False


@dataclass(frozen=True)
class Changes:
    """What has changed.

    Args:
        values: the last value of each key that has changed; None for a deleted one.
        last: the last change; None where nothing has changed.
    """

    values: dict[str, bytes | None]
    last: Change | None


def find_last_change(listing: StoreListing) -> Change | None:
    """Return the most recent change in a listing; None if it is empty."""
    newest = max(listing.values, key=lambda value: value.modified, default=None)
    return None if newest is None else Change(newest.key, newest.modified)


def require_change(client: EtcdClient, change: Change) -> None:
    """See that a store still has a change that it once told of.

    One that was restored from a backup lacks it, even if others have written so much since that its
    revision is higher again.

    Raises:
        HistoryLostError: it has not, or does not know any more.
        EtcdError: etcd cannot be reached, or refuses the request.
    """
    try:
        stored = client.get(change.key, change.revision)
    except EtcdError as error:
        if "has been compacted" in error.message:
            raise HistoryLostError(_COMPACTED) from None
        if "future revision" in error.message:
            raise HistoryLostError(_RESTORED, is_restored=True) from None
        raise
    is_there = stored is None if change.is_deletion else stored and stored.modified == change.revision
    if not is_there:
        raise HistoryLostError(_RESTORED, is_restored=True)


def watch_prefix(client: EtcdClient, prefix: str, revision: int, cluster: str) -> Iterator[Changes]:
    """Yield what changes after a revision; nothing has changed in the first one, which says that it begins.

    Args:
        client: where.
        prefix: what keys begin with.
        revision: the last one that is known.
        cluster: which store it is of.

    Raises:
        HistoryLostError: the revision is not known to the store any more, or not yet.
        EtcdUnavailableError: the stream has ended: watch again, from the last revision.
        EtcdError: etcd refuses it.
    """
    request = {
        "create_request": {
            "key": encode_value(prefix),
            "range_end": encode_value(calc_range_end(prefix)),
            "start_revision": revision + 1,
        }
    }
    buffer = b""
    for part in client.open_stream("watch", request):
        *lines, buffer = (buffer + part).split(b"\n")
        values: dict[str, bytes | None] = {}
        last = None
        is_news = False
        for line in lines:
            if not line.strip():
                continue
            answer = _parse_answer(line)
            header = answer.get("header", {})
            if "compact_revision" in answer:
                raise HistoryLostError(_COMPACTED)
            is_behind = "created" in answer and int(header.get("revision", 0)) < revision
            if is_behind or header.get("cluster_id", cluster) != cluster:
                raise HistoryLostError(_RESTORED, is_restored=True)
            if answer.get("canceled"):
                raise EtcdUnavailableError(
                    f"etcd has cancelled a watch: {answer.get('cancel_reason', 'no reason')}"
                )
            is_news |= "created" in answer or "events" in answer
            for event in answer.get("events", ()):
                entry = event["kv"]
                is_deleted = event.get("type") == "DELETE"
                key = decode_value(entry["key"]).decode("utf-8", "replace")
                values[key] = None if is_deleted else decode_value(entry.get("value", ""))
                last = Change(key, int(entry["mod_revision"]), is_deleted)
        if is_news:
            yield Changes(values, last)


def _parse_answer(line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    if "error" in answer:
        error = answer["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise EtcdUnavailableError(f"etcd has ended a watch: {message}")
    result = answer["result"]
    return result if isinstance(result, dict) else {}
