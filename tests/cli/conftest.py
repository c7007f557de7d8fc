"""The real service, as the SDK's tests start it."""

from tests.client.conftest import service

__all__ = ["service"]
