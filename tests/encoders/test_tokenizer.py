"""Token ids of the tiny tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from app.encoders.tokenizer import Tokenizer
from tests.encoders.models import TINY

FILE = TINY / "tokenizer.json"
CLS, SEP = 2, 3


def test_each_text_has_its_own_length_and_no_padding() -> None:
    short, long = Tokenizer(FILE, 64).ids(["cat", "the old man and the sea"])
    assert len(short) == 3
    assert len(long) > len(short)
    assert (short[0], short[-1]) == (CLS, SEP)


def test_a_long_text_is_cut_and_still_ends_as_a_text_does() -> None:
    (ids,) = Tokenizer(FILE, 10).ids(["cat " * 1000])
    assert len(ids) == 10
    assert (ids[0], ids[-1]) == (CLS, SEP)


def test_an_empty_text_has_its_special_tokens() -> None:
    assert Tokenizer(FILE, 10).ids([""]) == [[CLS, SEP]]


def test_the_files_own_padding_and_truncation_do_not_count(tmp_path: Path) -> None:
    parsed = json.loads(FILE.read_bytes())
    parsed["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    parsed["padding"] = {
        "strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    changed = tmp_path / "tokenizer.json"
    changed.write_text(json.dumps(parsed))
    texts = ["the red cat", "a much longer text than that one"]
    assert Tokenizer(changed, 64).ids(texts) == Tokenizer(FILE, 64).ids(texts)
