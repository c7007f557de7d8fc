"""How a route gets at the service."""

from __future__ import annotations

from fastapi import Request

from app.errors import Unavailable
from app.service.service import Service


def service_of(request: Request) -> Service:
    """The service of the running application; raise Unavailable before it has started."""
    service = request.app.state.service
    if not isinstance(service, Service):
        raise Unavailable("the service is starting")
    return service
