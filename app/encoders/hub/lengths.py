"""How long a text may be for a model, by its configuration."""

from __future__ import annotations

import json
from typing import Any

from app.encoders.hub.folder import TOKENIZER, ModelFolder
from app.encoders.networks.config import MODEL_TYPES

NO_LIMIT = 1_000_000  # tokenizers without a limit publish numbers like 10³⁰
ASSUMED_TOKENS = 512


def read_max_tokens(folder: ModelFolder, network: str, config: dict[str, Any]) -> int:
    """The longest input in tokens, special tokens included.

    network  where it is: "" or with a slash at its end
    config   its config.json
    """
    settings = folder.json(f"{network}sentence_bert_config.json", missing={})
    if settings.get("do_lower_case"):
        _check_lowered(folder, f"{network}{TOKENIZER}")
    tokenizer = folder.json(f"{network}tokenizer_config.json", missing={})
    positions = read_positions(config)
    limits = [settings.get("max_seq_length"), tokenizer.get("model_max_length"), positions]
    known = [int(n) for n in limits if type(n) in (int, float) and 0 < n < NO_LIMIT]
    # What was set for the model goes before what its tokenizer could do, but no text may be
    # longer than there are positions.
    if type(limits[0]) is int and limits[0] > 0:
        known = [n for n in (limits[0], positions) if type(n) is int and n > 0]
    if not known:
        folder.note(f"no length is given: {ASSUMED_TOKENS} tokens are assumed")
    return min(known, default=ASSUMED_TOKENS)


def read_positions(config: dict[str, Any]) -> int | None:
    """How many positions a network has for tokens; None if it does not say."""
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if type(positions) is not int:
        return None
    kind = str(config.get("model_type"))
    # Theirs begin behind the padding's number.
    if MODEL_TYPES.get(kind) in ("roberta", "mpnet") or "roberta" in kind:
        positions -= int(config.get("pad_token_id") or 1) + 1
    return positions


def _check_lowered(folder: ModelFolder, path: str) -> None:
    normalizer = json.dumps(folder.json(path).get("normalizer")).lower()
    if not ('"lowercase": true' in normalizer or '"type": "lowercase"' in normalizer):
        folder.refuse(path, "keeps capitals, though the model is to get none (do_lower_case)")
