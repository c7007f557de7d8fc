"""Which output of a published graph is used, by what the graph says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from app.encoders.graph_header import GraphHeader, Port, read_graph_header
from app.encoders.hub.folder import ModelFolder
from app.encoders.hub.modules import Task
from app.encoders.manifest import Batch, ReadyGraph
from app.encoders.token_session import TEXT_INPUTS

# What exporters call the last layer, the pooled vector, and the output of a head.
TOKEN_OUTPUTS = ("last_hidden_state", "token_embeddings", "hidden_states")
VECTOR_OUTPUTS = ("sentence_embedding", "text_embeds", "embeddings", "pooled_output")
LOGITS = "logits"


def read_published(folder: ModelFolder, path: str, task: Task) -> tuple[ReadyGraph, bool]:
    """Read the graph at a path, and whether it makes one vector of each text itself.

    Raises StoredDataError with the reason if the graph does not fit the task.
    """
    header = read_graph_header(folder.path / path)
    unknown = {port.name for port in header.inputs} - TEXT_INPUTS
    if unknown:
        folder.refuse(path, f"has inputs that a text cannot fill: {sorted(unknown)[:5]}")
    parent = (folder.path / path).parent
    missing = sorted(name for name in header.external if not (parent / name).is_file())
    if missing:
        folder.refuse(path, f"keeps weights in {', '.join(missing)}, which is missing")
    output, pooled = _output(folder, path, header, task)
    batch: Batch = "alone" if header.quantises_by_batch else "together"
    return ReadyGraph(path, output, batch), pooled


def _output(folder: ModelFolder, path: str, header: GraphHeader, task: Task) -> tuple[str, bool]:
    ports = {port.name: port for port in header.outputs}
    if task in ("pair", "sparse"):
        rank = 2 if task == "pair" else 3
        if LOGITS in ports and ports[LOGITS].rank in (rank, None):
            return LOGITS, False
        expected = "pair, label" if task == "pair" else "text, token, word"
        folder.refuse(path, f"has no output {LOGITS} [{expected}]: {sorted(ports)[:5]}")
    tokens = _of_tokens(ports)
    # Layers follow: only what is surely before them will do.
    if tokens is not None and (task == "dense" or tokens == TOKEN_OUTPUTS[0]):
        return tokens, False
    if task == "dense":
        for name in (*VECTOR_OUTPUTS, *ports):
            if name in ports and ports[name].rank == 2:
                folder.note(f"the graph's own vectors ({name}) are used, and no pool")
                return name, True
    folder.refuse(path, f"has no output of token vectors: {sorted(ports)[:5]}")


def _of_tokens(ports: Mapping[str, Port]) -> str | None:
    for name in TOKEN_OUTPUTS:
        if name in ports and ports[name].rank in (3, None):
            return name
    return next((port.name for port in ports.values() if port.rank == 3), None)
