"""DNS settings, which a configuration and a result have alike."""

from shibafu.cni.config import Section

_DNS_KEYS = ("nameservers", "domain", "search", "options")


def parse_dns(section: Section) -> dict[str, object]:
    """Return the DNS settings of a configuration or result without the empty ones."""
    dns: dict[str, object] = {
        key: section.text(key) if key == "domain" else section.texts(key) for key in _DNS_KEYS
    }
    return {key: value for key, value in dns.items() if value}
