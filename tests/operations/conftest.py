"""The tiny model that serves."""

from tests.serving.conftest import export  # noqa: F401
