"""`cni.dev/valid-attachments`: which attachments the runtime still knows, given to GC."""

from shibafu.cni.config import Section


def parse_valid_attachments(config: Section) -> list[tuple[str, str]] | None:
    """Return (container ID, interface name) of each valid attachment.

    Returns:
        None when the key is absent: the runtime has not said which are valid, so nothing may be
        freed. An empty list says that none is.
    """
    if "cni.dev/valid-attachments" not in config:
        return None
    return [
        (item.text("containerID"), item.text("ifname"))
        for item in config.sections("cni.dev/valid-attachments")
    ]
