"""Images are fetched from public addresses only, within time and size, and never by a second name
lookup."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidImage
from app.service.fetching import MOST_REDIRECTS, Fetcher, is_public
from tests.certificates import KEY_PASSWORD, make_certificates

OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nbytes"


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


class Web:
    """One server under any name: answers by path, and remembers requests and look-ups."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.heads: list[bytes] = []
        self.looked_up: list[str] = []
        self.addresses: dict[str, list[str]] = {}
        self.port = 0

    def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        return self.addresses.get(host, ["127.0.0.1"])

    def fetcher(self, **changes: Any) -> Fetcher:
        chosen: dict[str, Any] = {
            "max_bytes": 100,
            "resolve": self.resolve,
            "permitted": lambda address: address == "127.0.0.1",
            "ports": {"http": self.port, "https": self.port},
        }
        return Fetcher(**{**chosen, **changes})

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            answer = self.answers[head.split()[1].decode()]
            writer.write(answer)
            await writer.drain()
            if answer:
                writer.close()
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answers: dict[str, bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Web]:
    web = Web(answers)
    server = await asyncio.start_server(web.answer, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


def fetched(
    answers: dict[str, bytes],
    url: str,
    *,
    prepare: Callable[[Web], object] = lambda web: None,
    **changes: Any,
) -> tuple[bytes, Web]:
    async def work() -> tuple[bytes, Web]:
        async with serving(answers) as web:
            prepare(web)
            fetcher = web.fetcher(**changes)
            try:
                return await fetcher.fetch(url), web
            finally:
                fetcher.close()

    return asyncio.run(work())


def test_an_image_is_fetched_with_the_hosts_name_and_nothing_that_tells_on_us() -> None:
    found, web = fetched({"/a?b=c": OK}, "http://pictures.example/a?b=c#d")
    assert found == b"bytes"
    (head,) = web.heads
    assert b"\r\nHost: pictures.example\r\n" in head
    assert b"authorization" not in head.lower()
    assert b"cookie" not in head.lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg; q=1\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\nbytes",
    ],
)
def test_bodies_end_in_each_of_https_ways(answer: bytes) -> None:
    assert fetched({"/": answer}, "http://a.example")[0] == b"bytes"


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "no address",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_never_connected_to(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_is_no_way_round(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    mapped, nat64, relayed = 0xFFFF << 32, 0x64FF9B << 96, 0x2002 << 112
    for outer in (number, mapped + number, nat64 + number, relayed + (number << 80)):
        assert not is_public(str(ipaddress.IPv6Address(outer)))


def refused(answers: dict[str, bytes], url: str, **changes: Any) -> str:
    with pytest.raises(InvalidImage) as raised:
        fetched(answers, url, **changes)
    assert "127.0.0.1" not in raised.value.detail
    return raised.value.detail


def test_one_private_address_among_public_ones_refuses_the_host() -> None:
    def prepare(web: Web) -> None:
        web.addresses["a.example"] = ["127.0.0.1", "10.0.0.1"]

    assert "public" in refused({"/": OK}, "http://a.example/", prepare=prepare)


def test_by_default_this_machine_is_not_fetched_from() -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"):
        fetcher = Fetcher(max_bytes=10)
        with pytest.raises(InvalidImage, match=r"public|could not be fetched"):
            asyncio.run(fetcher.fetch(f"http://{host}/"))
        fetcher.close()


def test_a_name_is_looked_up_once_so_that_a_changed_answer_changes_nothing() -> None:
    def prepare(web: Web) -> None:
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        plain = web.resolve

        def resolve(host: str, port: int) -> list[str]:
            plain(host, port)
            return next(answers)

        web.resolve = resolve  # type: ignore[method-assign]  # a name server that changes its mind

    found, web = fetched({"/": OK}, "http://rebinding.example/", prepare=prepare)
    assert found == b"bytes"
    assert web.looked_up == ["rebinding.example"]


def test_each_redirect_is_checked_again() -> None:
    def prepare(web: Web) -> None:
        web.addresses["inside.example"] = ["10.0.0.1"]

    answers = {"/": redirect("/b"), "/b": redirect("http://b.example/c"), "/c": OK}
    found, web = fetched(answers, "http://a.example/")
    assert found == b"bytes"
    assert web.looked_up == ["a.example", "a.example", "b.example"]
    answers["/b"] = redirect("http://inside.example/c")
    assert "public" in refused(answers, "http://a.example/", prepare=prepare)
    for target in ("file:///etc/passwd", "ftp://a.example/", "http://u:p@a.example/", "http:///x"):
        answers["/b"] = redirect(target)
        refused(answers, "http://a.example/")


def test_redirects_end() -> None:
    detail = refused({"/": redirect("/")}, "http://a.example/")
    assert f"more than {MOST_REDIRECTS} redirects" in detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "at most 100 bytes"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 101, "at most 100 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbytes", "could not be fetched"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "does not call itself"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "could not be fetched"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "could not be fetched"),
    ],
)
def test_what_is_no_image_or_too_long_is_refused(answer: bytes, said: str) -> None:
    assert said in refused({"/": answer}, "http://a.example/")


def test_all_of_it_has_one_time() -> None:
    detail = refused({"/": b""}, "http://a.example/", time_s=0.05)
    assert "within 0.05 seconds" in detail


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example:22/",
        "https://a.example:8443/",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "ftp://a.example/",
        "http://",
        "http://[::1",
        "http://a.example/\r\nX: 1",
        "http://a.example/ü",
        "http://" + "a" * 300 + "/",
    ],
)
def test_urls_that_are_not_plain_are_refused(url: str) -> None:
    def prepare(web: Web) -> None:
        if len(url) > 100:  # as the system's resolver says of such a name
            web.fetcher = lambda **_: Fetcher(max_bytes=1)  # type: ignore[method-assign]

    detail = refused({"/": OK}, url, prepare=prepare)
    assert "secret" not in detail


def test_certificates_are_verified_for_the_name(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server, files.server_key, KEY_PASSWORD)
    trusting = ssl.create_default_context(cafile=str(files.ca))

    async def work() -> None:
        async with serving({"/": OK}, server) as web:
            fetcher = web.fetcher(tls=trusting)
            assert await fetcher.fetch("https://127.0.0.1/") == b"bytes"
            with pytest.raises(InvalidImage, match="could not be fetched"):
                await fetcher.fetch("https://other.example/")
            fetcher.close()

    asyncio.run(work())
