"""What `app.api.connection` and `app.api.server` rely on inside uvicorn, so that another version
that does it otherwise is noticed here and not in the night."""

from __future__ import annotations

import inspect

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.connection import Connection
from app.api.server import Server


@pytest.mark.parametrize("ours", [Connection, Server], ids=lambda kind: kind.__name__)
def test_what_is_overridden_exists_and_takes_the_same(ours: type) -> None:
    theirs = ours.__mro__[1]
    own = {name for name, value in vars(ours).items() if callable(value) and name[:2] != "__"}
    overridden = [name for name in own if hasattr(theirs, name)]
    assert len(overridden) >= 3
    for name in overridden:
        parameters = [list(inspect.signature(getattr(k, name)).parameters) for k in (ours, theirs)]
        assert parameters[0] == parameters[1], name


def test_uvicorn_calls_what_is_overridden() -> None:
    source = inspect.getsource(HttpToolsProtocol)
    assert source.count("self._start_asgi_task(") == 2, "for each request, at once or queued"
    assert "self.parser = httptools.HttpRequestParser(self)" in source
    assert "connection.shutdown()" in inspect.getsource(uvicorn.Server.shutdown)
    assert "signal.signal(sig, self.handle_exit)" in inspect.getsource(
        uvicorn.Server.capture_signals
    )


def test_the_state_that_is_read_and_set_has_these_names() -> None:
    protocol = inspect.getsource(HttpToolsProtocol.__init__)
    for name in ("app", "parser", "tasks", "flow", "pipeline", "scope", "headers", "cycle"):
        assert f"self.{name}" in protocol, name
    assert "app = self.app" in inspect.getsource(HttpToolsProtocol.on_headers_complete)
    cycle = inspect.getsource(RequestResponseCycle.__init__)
    for name in ("disconnected", "keep_alive", "more_body", "response_complete", "message_event"):
        assert f"self.{name} = " in cycle, name
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")


def test_a_body_that_stops_coming_wakes_whoever_waits_for_it() -> None:
    """`message_event` is what `receive` waits for, and `more_body` is what it says."""
    source = inspect.getsource(RequestResponseCycle.receive)
    assert "await self.message_event.wait()" in source
    assert '"more_body": self.more_body' in source
