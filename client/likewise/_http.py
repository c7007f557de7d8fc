"""The only place that knows httpx's vocabulary: settings, headers, failures."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping

import httpx

from ._errors import TransportError
from ._flows import Session
from ._requests import Response
from ._retry import Retries
from ._version import __version__

# An upsert of texts waits for an encoder: reads take long before something is wrong. A host that
# accepts no connection for 5 s does not exist or is overwhelmed.
DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=5.0)

# A snapshot takes as long as its collection is large.
PATIENT = httpx.Timeout(None, connect=5.0)


def checked_base_url(base_url: str) -> str:
    """Return the URL; raises ValueError for anything but http(s) with a host."""
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"expected a base_url as http://127.0.0.1:8000, received {base_url!r}")
    return base_url


def session_with(retries: int | Retries) -> Session:
    return Session(retries if isinstance(retries, Retries) else Retries(attempts=retries))


_KEY = re.compile(r"[!-~]+")


def checked_api_key(api_key: str | None) -> str | None:
    """Return the key without white space around it, as at the end of a file.

    Raises ValueError for what no header can carry, and does not show it: httpx's own error would.
    """
    if api_key is None:
        return None
    key = api_key.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("expected an api_key of visible ASCII characters, in one line")
    return key


def tls_context(verify: bool | str | os.PathLike[str] | ssl.SSLContext) -> bool | ssl.SSLContext:
    """Return what httpx takes: a path becomes a context that trusts its certificates alone."""
    if isinstance(verify, (bool, ssl.SSLContext)):
        return verify
    return ssl.create_default_context(cafile=verify)


def request_headers(api_key: str | None, extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of every request; the caller's own win."""
    headers = {
        "user-agent": f"likewise-client/{__version__}",
        "accept": "application/json",
        "content-type": "application/json",
    }
    key = checked_api_key(api_key)
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    headers.update({name.lower(): value for name, value in (extra or {}).items()})
    return headers


def response_from_httpx(response: httpx.Response) -> Response:
    return Response(response.status_code, dict(response.headers), response.content)


def error_from_httpx(exc: httpx.RequestError, base_url: str) -> TransportError:
    """Say what happened, and whether the request may have arrived."""
    if isinstance(exc, (httpx.ConnectError, httpx.ConnectTimeout)):
        message = f"nothing answers at {base_url}: is the service running?"
        error = TransportError(
            message, reached=False, timed_out=isinstance(exc, httpx.ConnectTimeout)
        )
    elif isinstance(exc, httpx.TimeoutException):
        error = TransportError(
            f"{base_url} did not answer in time: raise timeout, or send smaller batches",
            timed_out=True,
        )
    else:
        error = TransportError(f"the connection to {base_url} broke ({type(exc).__name__}: {exc})")
    error.__cause__ = exc
    return error
