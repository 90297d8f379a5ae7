"""The toy libraries of tests/library serve here too."""

from tests.library.conftest import compiled, toys

__all__ = ["compiled", "toys"]
