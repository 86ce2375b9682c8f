"""Addresses as arguments."""

from argparse import ArgumentTypeError

from shibafu.cni.ip import Address, parse_address


def parse_address_argument(text: str) -> Address:
    """Return the address of an argument."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
