from __future__ import annotations

import re
from pathlib import Path

import pytest

from app import errors
from app.api.problems import STATUS
from app.config import Settings, settings_table

from .harness import InProcess
from .test_openapi import OPERATIONS
from .test_problems import LEAVES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def api_page() -> str:
    return (DOCS / "api.md").read_text(encoding="utf-8")


def test_every_endpoint_is_documented_and_no_other(api_page: str) -> None:
    documented = set(re.findall(r"^#+ `((?:GET|PUT|POST|PATCH|DELETE) [^`?]+)", api_page, re.M))
    assert documented == set(OPERATIONS.values())


def test_every_code_is_documented_with_its_status_and_no_other(api_page: str) -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", api_page, re.M))
    raised_themselves: list[type[errors.LikewiseError]] = [
        errors.LikewiseError,
        errors.InvalidRequest,
        errors.Unavailable,
    ]
    assert rows == {kind.code: str(STATUS[kind]) for kind in [*LEAVES, *raised_themselves]}


def test_every_limit_is_documented(api_page: str, plain: InProcess) -> None:
    for limit in plain.get("/v1/limits").json():
        assert f"`{limit}`" in api_page


def test_settings_are_documented_as_the_command_prints_them() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert page == settings_table(), "run: likewise settings --markdown > docs/settings.md"


def test_settings_name_every_field() -> None:
    for name, field in Settings.model_fields.items():
        assert f"`LIKEWISE_{name.upper()}`" in settings_table()
        assert field.description
