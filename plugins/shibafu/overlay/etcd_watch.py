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
    EtcdError,
    EtcdUnavailableError,
    calc_range_end,
    decode_value,
    encode_value,
)


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
class Changes:
    """What has changed up to a revision.

    Args:
        values: the last value of each key that has changed; None for a deleted one.
        revision: the store's.
    """

    values: dict[str, bytes | None]
    revision: int


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
            "progress_notify": True,
        }
    }
    buffer = b""
    for part in client.open_stream("watch", request):
        *lines, buffer = (buffer + part).split(b"\n")
        values: dict[str, bytes | None] = {}
        is_news = False
        for line in lines:
            if not line.strip():
                continue
            answer = _parse_answer(line)
            header = answer.get("header", {})
            current = int(header.get("revision", 0))
            if "compact_revision" in answer:
                raise HistoryLostError("etcd has compacted what this host has missed")
            is_behind = "created" in answer and current < revision
            if is_behind or header.get("cluster_id", cluster) != cluster:
                raise HistoryLostError("etcd has been restored from a backup", is_restored=True)
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
            # The header of `created` has the store's, of which not all may have been sent.
            revision = revision if "created" in answer else current
        if is_news:
            yield Changes(values, revision)


def _parse_answer(line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    if "error" in answer:
        error = answer["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise EtcdUnavailableError(f"etcd has ended a watch: {message}")
    result = answer["result"]
    return result if isinstance(result, dict) else {}
