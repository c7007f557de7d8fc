"""What is compared: each encodes a list of texts and keeps a process of its own.

A library is imported in a process started for it, so that no two share threads or memory; texts and
vectors go through a pipe outside the time that is taken. Our server is asked over HTTP, and what
the client does with the answers counts.
"""

from __future__ import annotations

import base64
import http.client
import json
import multiprocessing
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.embedding.models import ENCODER, MAX_TOKENS
from bench.load import Address
from bench.servers.base import Process, free_port

F32 = NDArray[np.float32]
Encode = Callable[[Sequence[str], int], F32]


class System(ABC):
    """Something that encodes."""

    @abstractmethod
    def encode(self, texts: Sequence[str], batch: int) -> tuple[float, F32]:
        """Encode texts, `batch` at a time; returns seconds and vectors [text, dim]."""

    @abstractmethod
    def close(self) -> None:
        """End its process."""


# ── libraries and loops ──────────────────────────────────────────────────────────────────────


class Library(System):
    """A library in a process of its own."""

    def __init__(self, open_it: Callable[[Path], Encode], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, open_it, folder), daemon=True)
        self._process.start()
        self._pipe.recv()

    def encode(self, texts: Sequence[str], batch: int) -> tuple[float, F32]:
        self._pipe.send((list(texts), batch))
        told: tuple[float, F32] = self._pipe.recv()
        return told

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def _serve(pipe: Connection, open_it: Callable[[Path], Encode], folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    encode = open_it(folder)
    encode(["warm up"] * 4, 2)
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        begun = time.perf_counter()
        vectors = encode(*asked)
        pipe.send((time.perf_counter() - begun, vectors))


def sentence_transformers(folder: Path) -> Encode:
    """The reference implementation, on torch; it sorts by length itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts, batch: np.asarray(
        model.encode(list(texts), batch_size=batch, show_progress_bar=False), np.float32
    )


def fastembed(folder: Path, file: str = "model.onnx") -> Encode:
    """FastEmbed on the exported graph; texts are sorted by length for it, as it does not."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/model",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/model"),
        dim=384,
        model_file=file,
    )
    model = TextEmbedding("local/model", specific_model_path=str(folder))
    return _sorted(
        lambda texts, batch: np.asarray(list(model.embed(texts, batch_size=batch)), np.float32)
    )


def fastembed_int8(folder: Path) -> Encode:
    """FastEmbed on the quantised graph."""
    return fastembed(folder, "model_int8.onnx")


def plain_loop(folder: Path, file: str = "model.onnx") -> Encode:
    """Tokenizer, ONNX Runtime and numpy in a loop, over the exported graph."""
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(
        str(folder / file), options, providers=["CPUExecutionProvider"]
    )

    def encode(texts: Sequence[str], batch: int) -> F32:
        parts = []
        for start in range(0, len(texts), batch):
            read = tokenizer.encode_batch_fast(list(texts[start : start + batch]))
            ids = np.array([one.ids for one in read], np.int64)
            mask = np.array([one.attention_mask for one in read], np.int64)
            (hidden,) = session.run(
                None,
                {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)},
            )
            means = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            parts.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        return np.concatenate(parts).astype(np.float32)

    return _sorted(encode)


def plain_loop_int8(folder: Path) -> Encode:
    """The same over the quantised graph."""
    return plain_loop(folder, "model_int8.onnx")


def our_loop(models: Path) -> Encode:
    """Our encoder in a loop: no queue, no HTTP, no other callers, and texts read on all cores."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # which `app` would switch off
    from app.encoders.build import graph_path
    from app.encoders.direct import encode
    from app.encoders.manifest import read_manifest
    from app.encoders.obtain import obtain
    from app.encoders.opening import open_encoder

    folder = models / ENCODER
    manifest = read_manifest(folder)
    obtain(manifest, folder)
    assert graph_path(manifest, folder).exists()
    encoder = open_encoder(manifest, folder, threads=len(os.sched_getaffinity(0)))
    return lambda texts, batch: encode(encoder, list(texts), "document").vectors


def _sorted(encode: Encode) -> Encode:
    """Put texts of like length together, and the vectors back in order."""

    def in_order(texts: Sequence[str], batch: int) -> F32:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = encode([texts[place] for place in order], batch)
        back = np.empty_like(vectors)
        back[order] = vectors
        return back

    return in_order


# ── servers ──────────────────────────────────────────────────────────────────────────────────


class Served(System):
    """A server with OpenAI's embeddings route, asked by some connections at once."""

    model = ENCODER
    path = "/v1/embeddings"

    def __init__(self, process: Process, connections: int) -> None:
        self._process = process
        self._connections = connections

    @property
    def address(self) -> Address:
        return self._process.address

    def encode(self, texts: Sequence[str], batch: int) -> tuple[float, F32]:
        """Send requests of `batch` texts over the connections, and read the vectors."""
        chunks = [list(texts[at : at + batch]) for at in range(0, len(texts), batch)]
        found: list[F32 | None] = [None] * len(chunks)
        waiting = iter(range(len(chunks)))
        taking = threading.Lock()
        errors: list[BaseException] = []

        def work() -> None:
            connection = http.client.HTTPConnection(*self.address, timeout=600)
            try:
                while True:
                    with taking:
                        place = next(waiting, None)
                    if place is None:
                        return
                    found[place] = self._ask(connection, chunks[place])
            except BaseException as exc:
                errors.append(exc)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(self._connections)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.perf_counter() - begun
        if errors:
            raise errors[0]
        return took_s, np.concatenate([part for part in found if part is not None])

    def close(self) -> None:
        self._process.close()

    def _ask(self, connection: http.client.HTTPConnection, texts: list[str]) -> F32:
        body = {"model": self.model, "input": texts, "encoding_format": "base64"}
        connection.request(
            "POST", self.path, json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {told[:300]!r}")
        return np.stack([_vector(one["embedding"]) for one in json.loads(told)["data"]])


def _vector(sent: Any) -> F32:
    if isinstance(sent, str):
        return np.frombuffer(base64.b64decode(sent), "<f4")
    return np.asarray(sent, np.float32)


class LikewiseProcess(Process):
    """Our own server at default settings, with one variant of the encoder."""

    name = "likewise"

    def __init__(self, models: Path, folder: Path) -> None:
        self._port = free_port()
        folder.mkdir()
        super().__init__(
            [sys.executable, "-m", "app", "serve"],
            {
                "LIKEWISE_PORT": str(self._port),
                "LIKEWISE_DATA_DIR": str(folder / "data"),
                "LIKEWISE_MODELS_DIR": str(models),
                "LIKEWISE_DEFAULT_ENCODER": ENCODER,
            },
            folder / "log",
        )
        self.wait_until_open()
        self._wait_until_ready()

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port

    def _wait_until_ready(self, timeout_s: float = 300.0) -> None:
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            known = {one["id"]: one["status"] for one in self.ask("GET", "/v1/models")["data"]}
            if known[ENCODER] == "ready":
                return
            time.sleep(0.1)
        raise RuntimeError("the encoder did not become ready")


class InfinityProcess(Process):
    """infinity-emb's own server, on torch as it comes, in an environment of its own."""

    name = "infinity"

    def __init__(self, python: str, model: Path, folder: Path) -> None:
        self._port = free_port()
        folder.mkdir()
        super().__init__(
            [
                str(Path(python).with_name("infinity_emb")),
                "v2",
                *("--model-id", str(model)),
                *("--served-model-name", ENCODER),
                *("--engine", "torch"),
                *("--device", "cpu"),
                *("--host", "127.0.0.1"),
                *("--port", str(self._port)),
                "--no-bettertransformer",
            ],
            {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"},
            folder / "log",
        )
        self.wait_until_open(300.0)

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._port


class Infinity(Served):
    """infinity-emb over HTTP."""

    path = "/embeddings"

    def __init__(self, python: str, model: Path, folder: Path, connections: int) -> None:
        super().__init__(InfinityProcess(python, model, folder), connections)
