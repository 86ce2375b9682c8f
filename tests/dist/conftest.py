"""Fixtures of the tests of what packaging/ makes."""

from support.built import built

__all__ = ["built"]
