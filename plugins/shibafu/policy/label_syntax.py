"""The syntax of names and labels, as Kubernetes validates it.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_LONGEST_PORT_NAME = 15


def require_policy_name(text: str) -> str:
    """Return the name of a policy.

    Raises:
        ValueError: it is not a subdomain of DNS.
    """
    if not _is_subdomain(text):
        raise ValueError(
            f'"{text}" is not a valid name: use at most {_LONGEST_NAME} lower-case letters, digits, "-" '
            'and ".", with a letter or digit at both ends'
        )
    return text


def require_namespace_name(text: str) -> str:
    """Return the name of a namespace.

    Raises:
        ValueError: it is not a label of DNS.
    """
    if not _is_label(text):
        raise ValueError(
            f'"{text}" is not a valid namespace: use at most {_LONGEST_LABEL} lower-case letters, digits '
            'and "-", with a letter or digit at both ends'
        )
    return text


def require_label_key(text: str) -> str:
    """Return the key of a label, such as `app` or `example.org/app`.

    Raises:
        ValueError: it is not valid.
    """
    prefix, slash, name = text.rpartition("/")
    if (slash and not _is_subdomain(prefix)) or not _is_name(name):
        raise ValueError(
            f'"{text}" is not a valid label: use at most {_LONGEST_LABEL} letters, digits, "-", "_" and "."'
            ', after a domain and "/" if you like'
        )
    return text


def require_label_value(text: str) -> str:
    """Return the value of a label; it may be empty.

    Raises:
        ValueError: it is not valid.
    """
    if text and not _is_name(text):
        raise ValueError(
            f'"{text}" is not a valid value of a label: use at most {_LONGEST_LABEL} letters, digits, "-", '
            '"_" and ".", with a letter or digit at both ends'
        )
    return text


def require_port_name(text: str) -> str:
    """Return the name of a port (RFC 6335).

    Raises:
        ValueError: it is not valid.
    """
    if text.isdecimal():
        raise ValueError(f'"{text}" is not a valid name of a port: write a number without quotes')
    has_letter = any(character.isalpha() for character in text)
    if len(text) > _LONGEST_PORT_NAME or not has_letter or not _PORT_NAME.fullmatch(text):
        raise ValueError(
            f'"{text}" is not a valid name of a port: use at most {_LONGEST_PORT_NAME} lower-case letters, '
            'digits and single "-", and at least one letter'
        )
    return text


def parse_label(text: str) -> tuple[str, str]:
    """Return the key and the value of `KEY=VALUE`.

    Raises:
        ValueError: it is not a label.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f'"{text}" is not a label: write KEY=VALUE')
    return require_label_key(key), require_label_value(value)


def _is_label(text: str) -> bool:
    return len(text) <= _LONGEST_LABEL and _LABEL.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_LABEL and _NAME.fullmatch(text) is not None


def _is_subdomain(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and all(_LABEL.fullmatch(part) for part in text.split("."))
