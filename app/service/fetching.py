"""Fetch an image from the web without becoming somebody's way into the network behind us.

Theory of operation
-------------------
Whoever may send a URL chooses whom this service talks to. So, for the first address and for every
redirect anew:

1. The URL is http or https, on the port of its scheme, without user or password.
2. The name is resolved once. *Every* address it has must be public: not loopback, private,
   link-local, shared (RFC 6598), multicast or reserved, and none that carries an IPv4 address
   inside (mapped, 6to4, Teredo, NAT64), which would lead to one of those.
3. The connection goes to an address that was checked. The name is not resolved again, so an
   answer that changes between check and use (DNS rebinding) changes nothing; it still is what TLS
   verifies and what `Host` says.
4. Proxies, cookies and credentials of the environment are not used: none are sent.

All of it has `TIME_S` seconds, redirects included, and `max_bytes`; at most `AT_ONCE` are under
way. What comes back is told apart by its content, later; here it must only call itself an image,
or nothing. Errors say what is wrong with the URL, never what was found behind it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

import httptools

from app.errors import InvalidImage

TIME_S = 10.0
MOST_REDIRECTS = 3
AT_ONCE = 16
PIECE_BYTES = 64 * 1024
HEAD_BYTES = 32 * 1024

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_OPAQUE = {"", "application/octet-stream", "binary/octet-stream"}

_NEVER = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by customers of one provider
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "240.0.0.0/4",
        "::/96",  # IPv4 inside, as in the next ones
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "fec0::/10",  # site-local
    )
]
"""Beside what the standard library calls private, whose mind changed between versions."""

Resolve = Callable[[str, int], list[str]]
"""Host and port → addresses. Blocks. Raises OSError."""


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, and means no other one inside."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # with a scope, as link-local ones have
        return False
    if any(parsed.version == network.version and parsed in network for network in _NEVER):
        return False
    return parsed.is_global and not (
        parsed.is_private
        or parsed.is_loopback
        or parsed.is_link_local
        or parsed.is_multicast
        or parsed.is_reserved
        or parsed.is_unspecified
    )


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(slots=True)
class _Response:
    """One response, as the parser tells it piece by piece.

    measured  whether it says itself where it ends
    """

    max_bytes: int
    location: str = ""
    kind: str = ""
    body: bytearray = field(default_factory=bytearray)
    in_body: bool = False
    measured: bool = False
    done: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"location":
            self.location = value.decode("latin-1")
        elif name == b"content-type":
            self.kind = value.decode("latin-1").partition(";")[0].strip().lower()
        elif name == b"transfer-encoding":
            self.measured = True
        elif name == b"content-length":
            self.measured = True
            if not value.isdigit() or int(value) > self.max_bytes:
                raise _TooLong

    def on_headers_complete(self) -> None:
        self.in_body = True

    def on_body(self, piece: bytes) -> None:
        if len(self.body) + len(piece) > self.max_bytes:
            raise _TooLong
        self.body += piece

    def on_message_complete(self) -> None:
        self.done = True


class _TooLong(Exception):
    """The response has more bytes than an image may."""


class Fetcher:
    """Gets images by URL. For one event loop.

    max_bytes   longest body
    resolve, permitted, ports  the network, for tests: names to addresses, which of them may be
                connected to, and the port of each scheme
    tls         how certificates are verified
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        time_s: float = TIME_S,
        resolve: Resolve = resolve,
        permitted: Callable[[str], bool] = is_public,
        ports: dict[str, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._time_s = time_s
        self._resolve = resolve
        self._permitted = permitted
        self._ports = ports or _PORTS
        self._tls = tls or ssl.create_default_context()
        self._room = asyncio.Semaphore(AT_ONCE)
        # Of its own: a name server that does not answer must not hold up anybody else.
        self._names = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="resolve")

    def close(self) -> None:
        """Let go of the threads."""
        self._names.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """Get the bytes behind a URL. Raises InvalidImage, without a pointer."""
        async with self._room:
            try:
                return await asyncio.wait_for(self._followed(url), self._time_s)
            except asyncio.TimeoutError:
                raise InvalidImage(
                    f"the image did not arrive within {self._time_s:g} seconds"
                ) from None
            except (OSError, EOFError, ValueError, httptools.HttpParserError) as exc:
                # Why a connection failed would tell the sender about the network behind us.
                raise InvalidImage("the image could not be fetched") from exc

    async def _followed(self, url: str) -> bytes:
        for _ in range(1 + MOST_REDIRECTS):
            parts = self._checked(url)
            status, response = await self._answer(parts)
            if status in _REDIRECTS and response.location:
                url = urljoin(url, response.location)
                continue
            if status != 200:
                raise InvalidImage("the image could not be fetched")
            if not (response.kind.startswith("image/") or response.kind in _OPAQUE):
                raise InvalidImage("the URL leads to something that does not call itself an image")
            return bytes(response.body)
        raise InvalidImage(f"the URL leads on through more than {MOST_REDIRECTS} redirects")

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidImage("the URL cannot be read") from None
        if parts.scheme not in self._ports or not parts.hostname:
            raise InvalidImage("expected a URL that begins with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise InvalidImage("a URL with a user or password is not fetched")
        if port not in (None, self._ports[parts.scheme]):
            raise InvalidImage("only the usual ports are fetched from, 80 and 443")
        if any(character <= " " or character > "~" for character in url):
            raise InvalidImage("a URL has visible ASCII characters only: percent-encode others")
        return parts

    async def _address(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._names, self._resolve, host, port)
        if not found or not all(map(self._permitted, found)):
            raise InvalidImage("the host of the URL is not a public one")
        return found[0]

    async def _answer(self, parts: SplitResult) -> tuple[int, _Response]:
        host = parts.hostname or ""
        port = self._ports[parts.scheme]
        address = await self._address(host, port)
        secure = parts.scheme == "https"
        reader, writer = await asyncio.open_connection(
            address,
            port,
            ssl=self._tls if secure else None,
            server_hostname=host if secure else None,
        )
        try:
            writer.write(_request(parts))
            return await self._read(reader)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, _Response]:
        response = _Response(self._max_bytes)
        parser = httptools.HttpResponseParser(response)
        received = 0
        try:
            while not response.done:
                piece = await reader.read(PIECE_BYTES)
                if not piece:
                    # Without a length, the end of the connection is that of the body.
                    if response.in_body and not response.measured:
                        break
                    raise EOFError
                parser.feed_data(piece)
                received += len(piece)
                if not response.in_body and received > HEAD_BYTES:
                    raise EOFError
        except httptools.HttpParserCallbackError as exc:
            raise self._too_long() from exc
        return parser.get_status_code(), response

    def _too_long(self) -> InvalidImage:
        return InvalidImage(f"an image has at most {self._max_bytes} bytes", limit=self._max_bytes)


def _request(parts: SplitResult) -> bytes:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (
        f"GET {target} HTTP/1.1\r\nHost: {shown}\r\nAccept: image/*\r\n"
        "Accept-Encoding: identity\r\nUser-Agent: likewise\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
