"""The public surface is whole: exports, twins, docstrings, doctests, the written sync client."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import runpy
from pathlib import Path
from typing import Any

import likewise
import pytest
from likewise import AsyncClient, AsyncCollection, Client, Collection, Query

REPOSITORY = Path(__file__).parents[2]
PACKAGE = Path(likewise.__file__).parent
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(PACKAGE)]))


def test_exports_are_sorted_and_complete() -> None:
    assert likewise.__all__ == sorted(likewise.__all__)
    public = {
        name
        for name, value in vars(likewise).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(likewise.__all__) - {"__version__"}


def test_every_module_is_private() -> None:
    assert [name for name in MODULES if not name.startswith("_")] == []


def test_the_sync_client_is_what_is_written_from_the_async_one() -> None:
    source = (PACKAGE / "_async.py").read_text(encoding="utf-8")
    written = (PACKAGE / "_sync.py").read_text(encoding="utf-8")
    maker = runpy.run_path(str(REPOSITORY / "client" / "make_sync.py"))
    assert written == maker["sync_from_async"](source), "run: python client/make_sync.py"


@pytest.mark.parametrize("owner", [Client, AsyncClient, Collection, AsyncCollection])
def test_every_public_method_is_documented(owner: type) -> None:
    methods = [value for name, value in vars(owner).items() if name[0] != "_"]
    assert methods
    assert [method.__name__ for method in methods if not method.__doc__] == []


def test_query_takes_exactly_the_fields_of_a_query() -> None:
    def parameters(function: Any) -> list[tuple[str, Any, Any]]:
        found = [
            (name, p.kind, p.default) for name, p in inspect.signature(function).parameters.items()
        ]
        return [entry for entry in found if entry[0] != "self"]

    assert parameters(Collection.query) == parameters(Query)


def test_credentials_are_not_shown() -> None:
    with Client(api_key="secret-key") as client:
        assert "secret-key" not in repr(client)


@pytest.mark.parametrize("base_url", ["localhost:8000", "ftp://host", "", "http://"])
def test_a_base_url_without_scheme_or_host_is_refused_at_once(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(base_url)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(f"likewise.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples_in_docstrings() -> None:
    attempted = [
        doctest.testmod(importlib.import_module(f"likewise.{name}")).attempted for name in MODULES
    ]
    assert sum(attempted) >= 10
