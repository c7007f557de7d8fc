"""Write `likewise/_sync.py` from `likewise/_async.py`: `python client/make_sync.py`.

The two clients differ in the words below and nowhere else, so one of them is source. A test fails
while the written file is not what this makes of its source.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent / "likewise"

# In order: longer phrases before the words they contain.
SYNC_OF_ASYNC = {
    '"""The asyncio client: it performs the steps of flows, and nothing else.\n\n'
    '`_sync.py` is written from this file by `client/make_sync.py`.\n"""': (
        '"""The blocking client. '
        'Do not edit: `client/make_sync.py` writes this file from `_async.py`."""'
    ),
    "import asyncio\nimport os\nimport ssl\n": "import os\nimport ssl\nimport time\n",
    "import AsyncIterator, Callable, Iterable, Mapping": "import Callable, Iterable, Iterator, "
    "Mapping",
    "for one event loop; examples leave out `await`.": "safe to share between threads.",
    "async for piece in response.aiter_bytes(PIECE):\n                incoming.write(piece)": (
        "for piece in response.iter_bytes(PIECE):\n                incoming.write(piece)"
    ),
    "    for piece in outgoing.pieces():\n        yield piece": "    yield from outgoing.pieces()",
    "response.aread": "response.read",
    "for record in page.records:\n                yield record": "yield from page.records",
    "asyncio.sleep": "time.sleep",
    "async def ": "def ",
    "await ": "",
    "AsyncClient": "Client",
    "AsyncCollection": "Collection",
    "AsyncIterator": "Iterator",
    "AsyncBaseTransport": "BaseTransport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "async for": "for",
    "async with": "with",
}


def sync_from_async(source: str) -> str:
    """Return the blocking client's text; raises ValueError for a phrase that no longer occurs."""
    for phrase, replacement in SYNC_OF_ASYNC.items():
        if phrase not in source:
            raise ValueError(f"{phrase!r} does not occur in _async.py: drop or mend its rule")
        source = source.replace(phrase, replacement)
    return source


if __name__ == "__main__":
    written = sync_from_async((PACKAGE / "_async.py").read_text(encoding="utf-8"))
    (PACKAGE / "_sync.py").write_text(written, encoding="utf-8")
