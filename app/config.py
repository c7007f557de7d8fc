"""Settings, read once from `LIKEWISE_…` environment variables; the only reader of the environment.

The table in `docs/settings.md` is generated from this class (`likewise settings --markdown`) and a
test holds the two together.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LEAST_KEY_CHARS = 16
"""Of a key from the environment, which people may choose; 16 random ones hold 64 bits and more."""

_KEY = re.compile(rf"[!-~]{{{LEAST_KEY_CHARS},}}")


class Settings(BaseSettings):
    """Everything an operator can set. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="LIKEWISE_",
        # A variable that is set to nothing is not set: so Compose passes on what nobody gave.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_by_name=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    data_dir: Path = Field(default=Path("data"), description="Where collections are kept.")
    snapshots_dir: Path | None = Field(
        default=None,
        description="Where snapshots are kept, for this service alone; `snapshots` in the data "
        "directory if it is not set.",
    )
    models_dir: Path = Field(default=Path("models"), description="Where encoder folders are.")
    default_encoder: str = Field(
        default="all-MiniLM-L6-v2",
        description="Encoder of collections that name none, and of `model` left out.",
    )
    default_reranker: str = Field(
        default="",
        description="Encoder that reranks where a request names none; empty takes the default "
        "encoder, and the cosine of its vectors.",
    )
    encoders: str = Field(
        default="",
        description="Comma-separated encoders to load at start; empty loads the default one.",
    )
    hub_endpoint: str = Field(
        default="https://huggingface.co",
        # The name that the hub's own tools read is honoured too.
        validation_alias=AliasChoices("LIKEWISE_HUB_ENDPOINT", "HF_ENDPOINT"),
        description="Hub that encoders are obtained from; `HF_ENDPOINT` is read as well.",
    )
    hub_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("LIKEWISE_HUB_TOKEN", "HF_TOKEN"),
        description="Token for gated and private models, sent to the hub and nowhere else; "
        "`HF_TOKEN` is read as well.",
    )
    model_variant: Literal["int8", "fp32", "fp16"] = Field(
        default="int8",
        description="Which graph of a model that has no manifest is used, and pulled.",
    )
    model_source: Path | None = Field(
        default=None,
        description="Folder with already downloaded models, looked into before the hub.",
    )
    encoder_threads: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1),
        ge=1,
        description="ONNX Runtime threads of each encoder; by default one for each CPU.",
    )
    encoder_queue: int = Field(
        default=4096,
        ge=1,
        description="Texts that may wait for one encoder before requests get 429.",
    )
    encoder_niceness: int = Field(
        default=19,
        ge=0,
        le=19,
        description="How far the threads that encode imports step back behind all other threads of "
        "the container (Linux nice value); 0 where other processes are meant to come second.",
    )
    batch_tokens: int = Field(
        default=1024, ge=1, description="Most tokens of one encoder batch, padding included."
    )
    embedding_cache_mb: int = Field(
        default=0,
        ge=0,
        description="Mebibytes of the data directory for vectors of inputs that were encoded "
        "before; 0 keeps none.",
    )
    search_threads: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1),
        ge=1,
        description="Threads that answer queries; by default one for each CPU.",
    )
    search_queue: int = Field(
        default=1024,
        ge=1,
        description="Queries that may wait for a thread before requests get 429.",
    )
    write_queue: int = Field(
        default=256, ge=1, description="Writes that may wait for a thread before requests get 429."
    )
    build_threads: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 1) - 1),
        ge=1,
        description="Threads of the background graph builder; one CPU is left by default.",
    )
    head_points: int = Field(
        default=4096,
        ge=1,
        description="New points that are searched exactly before a graph build starts.",
    )
    cover_share: float = Field(
        default=0.35,
        ge=0,
        description="Most memory of the graphs that are built for frequent filters, as a share of "
        "the vectors' own; 0 builds none.",
    )
    vectors_on_disk: bool = Field(
        default=False,
        description="Keep only eight-bit codes of indexed vectors in memory, a quarter of the "
        "bytes; the few that are compared exactly are read from disk.",
    )
    max_connections: int = Field(
        default=4096,
        ge=1,
        description="Connections open at once; probes have a few more, others get 503.",
    )
    idle_timeout: int = Field(
        default=75,
        ge=1,
        description="How long a connection may wait for its next request; longer than clients and "
        "proxies keep theirs, so that it is they who close them.",
    )
    head_timeout: float = Field(
        default=10.0, gt=0, description="How long the head of a request may take to arrive."
    )
    body_timeout: float = Field(
        default=30.0,
        gt=0,
        description="How long a request body may take to arrive, apart from a second for each "
        "16 KiB of it.",
    )
    write_timeout: float = Field(
        default=30.0,
        gt=0,
        description="How long a client may leave its answer unread before it is dropped.",
    )
    request_timeout: float = Field(
        default=60.0,
        gt=0,
        description="How long a request may wait for its work to begin; `X-Request-Timeout` asks "
        "for less.",
    )
    max_inflight_bytes: int = Field(
        default=1 << 30,
        ge=1,
        description="Bytes of request bodies above 16 KiB that may be in work at once; more get "
        "429 before they are read.",
    )
    sync: bool = Field(
        default=True,
        description="Whether an acknowledged write survives a power cut (fsync on each commit); "
        "without it, it survives a crash of the process only.",
    )
    reserve_bytes: int = Field(
        default=16 << 20,
        ge=0,
        description="Room kept in the data directory, so that points and collections can be "
        "removed when the disk is full; 0 keeps none.",
    )
    max_body_bytes: int = Field(default=64 << 20, ge=1, description="Longest request body.")
    max_batch: int = Field(default=10_000, ge=1, description="Most points or ids in one request.")
    max_queries: int = Field(default=1_000, ge=1, description="Most queries in one `query:batch`.")
    max_k: int = Field(
        default=10_000, ge=1, description="Largest `offset + k`, and page of a scroll."
    )
    max_inputs: int = Field(
        default=2_048, ge=1, description="Most texts in one `/v1/embeddings` request."
    )
    max_documents: int = Field(
        default=1_000,
        ge=1,
        description="Most documents in one `/v1/rerank` request, and candidates of one query "
        "that reranks.",
    )
    max_text_chars: int = Field(default=100_000, ge=1, description="Longest text, in characters.")
    max_image_bytes: int = Field(
        default=16 << 20, ge=1, description="Longest file of one image, decoded from base64."
    )
    max_image_pixels: int = Field(
        default=50_000_000,
        ge=1,
        le=1 << 28,
        description="Most pixels of one image; each takes seven bytes while it is read.",
    )
    image_urls: bool = Field(
        default=False,
        description="Whether images may be given by URL, which the service then fetches from "
        "public addresses only; see docs/security.md.",
    )
    max_filter_nodes: int = Field(default=1_000, ge=1, description="Most conditions in one filter.")
    max_attributes_bytes: int = Field(
        default=65_536, ge=1, description="Most bytes of one point's attributes as JSON."
    )
    max_snapshot_bytes: int = Field(
        default=64 << 30, ge=1, description="Longest snapshot that may be uploaded."
    )
    keys_file: Path | None = Field(
        default=None,
        description="File with the digests of API keys, made by `likewise keys new`; a change is "
        "in force within a second.",
    )
    api_key: SecretStr | None = Field(
        default=None, description="One key that may do everything, of at least 16 characters."
    )
    read_key: SecretStr | None = Field(
        default=None, description="One key that may read every collection, likewise."
    )
    jwt_secret_file: Path | None = Field(
        default=None,
        description="File with HS256 secrets, one a line, of at least 32 bytes: tokens signed "
        "with one of them are taken.",
    )
    jwt_public_key_file: Path | None = Field(
        default=None, description="File with RSA public keys in PEM, for tokens signed by RS256."
    )
    jwt_audience: str | None = Field(
        default=None, description="What a token must have in its claim `aud`."
    )
    jwt_issuer: str | None = Field(
        default=None, description="What a token must have as its claim `iss`."
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Listen on other addresses than this machine's own without keys or tokens.",
    )
    tls_cert: Path | None = Field(
        default=None, description="Certificate chain in PEM; with it, the service speaks TLS only."
    )
    tls_key: Path | None = Field(
        default=None, description="Private key of the certificate; none if the same file has it."
    )
    tls_key_password: SecretStr | None = Field(
        default=None, description="Password of the private key."
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description="CA certificates in PEM; with it, every connection must show a certificate "
        "that one of them signed.",
    )
    min_free_bytes: int = Field(
        default=512 << 20,
        ge=0,
        description="Free disk below which `/readyz` says `degraded`; writes go on.",
    )
    self_check: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Share of the queries that are asked again, exactly, to measure recall; at "
        "most one a second. 0 checks none.",
    )
    metrics_collections: int = Field(
        default=100,
        ge=0,
        description="Most collections with metrics of their own, the largest; the others are "
        "summed up as `_other`.",
    )
    otlp_endpoint: str = Field(
        default="",
        # The name that other services of a company read is honoured too.
        validation_alias=AliasChoices("LIKEWISE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Base address of an OpenTelemetry collector (OTLP over HTTP) to send traces "
        "to; `OTEL_EXPORTER_OTLP_ENDPOINT` is read as well. Empty sends none.",
    )
    max_line_bytes: int = Field(
        default=16 << 20, ge=1, description="Longest line of an import, uncompressed."
    )
    max_import_bytes: int = Field(
        default=0, ge=0, description="Longest body of an import, uncompressed; 0 is no limit."
    )
    stream_idle_timeout: float = Field(
        default=60.0,
        gt=0,
        description="Longest time that nothing may move in an import or export.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important level that is logged."
    )
    log_values: bool = Field(
        default=False,
        description="Whether messages of unexpected exceptions are logged, which may quote texts "
        "or attributes of a request; without it, their types and places only.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="JSON lines, text, or auto: text on a terminal."
    )

    @field_validator("api_key", "read_key")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError(
                f"expected at least {LEAST_KEY_CHARS} visible ASCII characters; "
                "`openssl rand -hex 32` prints 64"
            )
        return key


class WrongSetting(ValueError):
    """A variable whose value cannot be used; `lines` has one for each of them."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read_settings(**instead: Any) -> Settings:
    """Read the environment; `instead` goes before it. Raises WrongSetting."""
    try:
        return Settings(**instead)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise WrongSetting(
            [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in faults]
        ) from None


def unknown_variables() -> list[str]:
    """Name the `LIKEWISE_…` variables in the environment that are no settings: misspelt ones."""
    known = {f"LIKEWISE_{name.upper()}" for name in Settings.model_fields}
    given = {name for name in os.environ if name.startswith("LIKEWISE_")}
    return sorted(given - known)


def settings_table() -> str:
    """Render all settings as a Markdown table: variable, type, default, meaning."""
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "from CPUs" if field.default_factory else _shown(field.default)
        kind = _kind(field.annotation)
        lines.append(f"| `LIKEWISE_{name.upper()}` | {kind} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]).upper() if loc else ""
    # A field with an alias is named by the variable itself.
    return name if name.startswith(("LIKEWISE_", "HF_", "OTEL_")) else f"LIKEWISE_{name}"


def _shown(default: object) -> str:
    if default is None or default == "":
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _kind(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    kinds = {
        bool: "true or false",
        int: "integer",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
    }
    # `X | None`: a setting of kind X that may be left out.
    (kind,) = [part for part in get_args(annotation) or (annotation,) if part is not NoneType]
    return kinds[kind]
