"""The real service, as the SDK's tests start it; and how many cases were tried."""

from __future__ import annotations

import pytest

from tests.client.conftest import service

from .cases import noted

__all__ = ["service"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for fuzzer, counted in noted.items():
        told = ", ".join(f"{number} {what}" for what, number in counted.items())
        terminalreporter.write_line(f"fuzz {fuzzer}: {told}")
