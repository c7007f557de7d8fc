"""Layers import downward only, and each outside package has one owner.

One table is the law. A failure names the rule; docs/architecture.md tells the reason for each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"

BASE = {"types", "errors", "keys"}
ATTRIBUTES = {"attributes"}

MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "keys": {"types", "errors"},
    "config": set(),
    "log": set(),
    "tally": set(),
    "exchange": BASE | ATTRIBUTES | {"tally"},
    "kernels": {"types"},
    "vectors": BASE | {"kernels"},
    "attributes": BASE | {"text", "kernels"},
    "storage": BASE,
    "text": {"types"},
    "postings": BASE | ATTRIBUTES | {"text", "kernels", "vectors"},
    "segments": BASE | ATTRIBUTES | {"text", "kernels", "vectors", "postings", "storage"},
    "planner": BASE,
    "engine": BASE
    | ATTRIBUTES
    | {
        "exchange",
        "tally",
        "text",
        "kernels",
        "vectors",
        "postings",
        "storage",
        "segments",
        "planner",
    },
    "backends": BASE | ATTRIBUTES | {"exchange", "engine"},
    "evaluation": BASE,
    "ranking": BASE | {"kernels", "vectors"},
    "query": BASE | ATTRIBUTES | {"exchange", "kernels", "vectors", "ranking", "backends"},
    "cache": BASE | {"storage"},
    "encoders": BASE | {"tally", "evaluation"},
    "metrics": {"tally", "exchange", "encoders"},
    "access": {"types", "errors"},
    "service": BASE
    | ATTRIBUTES
    | {
        "exchange",
        "config",
        "cache",
        "encoders",
        "backends",
        "metrics",
        "ranking",
        "query",
        "evaluation",
    },
    "wire": BASE,
    "api": BASE
    | ATTRIBUTES
    | {
        "exchange",
        "config",
        "log",
        "access",
        "service",
        "query",
        "wire",
        "backends",
        "encoders",
        "metrics",
        "evaluation",
    },
    "cli": BASE | {"config", "access", "encoders", "evaluation"},
}
"""Package (or module) of `app` → those it may import. `app.__main__` may import anything, and
nothing imports it."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "numba": ("app/kernels/",),
    "llvmlite": ("app/kernels/",),
    "hnswlib": ("app/vectors/builder.py",),
    "sqlite3": ("app/storage/database.py",),
    "onnxruntime": ("app/encoders/session.py", "app/encoders/quantise.py"),
    "onnx": ("app/encoders/",),
    "tokenizers": ("app/encoders/tokenizer.py",),
    "PIL": ("app/encoders/picture.py",),
    "python_multipart": ("app/api/multipart.py",),
    "httpx": ("app/encoders/", "app/cli/"),
    "fastapi": ("app/api/",),
    "starlette": ("app/api/",),
    "uvicorn": ("app/__main__.py", "app/api/"),
    "pydantic": ("app/wire/", "app/api/", "app/config.py"),
    "prometheus_client": ("app/metrics/exposition.py",),
    "opentelemetry": ("app/api/tracing.py",),
    "pydantic_settings": ("app/config.py",),
    "jwt": ("app/access/tokens.py",),
    "cryptography": ("app/access/tokens.py",),
    "typer": ("app/__main__.py", "app/cli/"),
    "rich": ("app/__main__.py", "app/cli/"),
    "likewise": (),
}
"""Outside package → the only places of `app` that may import it."""

FILES = sorted(APP.rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            if module == "app":
                names = (alias.name for alias in node.names if alias.name != "__version__")
                yield from (f"app.{name}" for name in names)
            else:
                yield module


def _package(path: Path) -> str:
    first = path.relative_to(APP).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_layers_import_downward_only(path: Path) -> None:
    package = _package(path)
    if package in {"__main__", "__init__"}:
        return
    allowed = MAY_IMPORT[package] | {package}
    for module in _imports(path):
        parts = module.split(".")
        if parts[0] != "app" or len(parts) == 1:
            continue
        assert parts[1] in allowed, (
            f"{path.relative_to(ROOT)} imports app.{parts[1]}: `{package}` may import "
            f"{sorted(allowed)} (docs/architecture.md, Layers)"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_each_dependency_has_one_owner(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for module in _imports(path):
        owners = ONLY_IN.get(module.split(".")[0])
        if owners is not None:
            assert any(place.startswith(owner) for owner in owners), (
                f"{place} imports {module}: only {list(owners)} may"
            )


def test_every_package_has_a_row_in_the_table() -> None:
    packages = {_package(path) for path in FILES} - {"__main__", "__init__"}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_async_stops_above_the_engine(path: Path) -> None:
    if _package(path) in {"service", "api", "__main__"}:
        return
    tree = ast.parse(path.read_text("utf-8"))
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    assert not found, f"{path.relative_to(ROOT)} has async functions below `service`: {found}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if _package(path) in {"config", "__main__"}:
        return
    if path.relative_to(APP).as_posix() in {"__init__.py", "encoders/__init__.py"}:
        return  # they do not read: they tell libraries to start no threads and to send nothing home
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            read = (node.value.id, node.attr)
            assert read not in {("os", "environ"), ("os", "getenv")}, path


def test_the_build_process_does_without_compiled_code() -> None:
    """It starts once a build: numba would cost more than the rest of its start."""
    import subprocess
    import sys

    program = (
        "import sys; import app.engine.build_process; "
        "heavy = {'numba', 'onnxruntime', 'fastapi', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_libraries_start_no_threads_of_their_own() -> None:
    """A pool has one priority, and ours differ; numpy would start one where there are two cores."""
    import os
    import subprocess
    import sys

    if sys.platform != "linux":
        pytest.skip("threads are counted in /proc")
    program = "import app, numpy, os; print(len(os.listdir('/proc/self/task')))"
    unset = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=unset, capture_output=True, check=True
    )
    assert int(told.stdout) == 1
