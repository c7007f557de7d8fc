"""One checkpoint in the forms that each system reads: nothing is fetched from a hub.

`sentence-transformers` gets the weights and the configuration files of its own format. FastEmbed
and the bare loops get the graph that a plain export of the same weights gives, in float32 and
quantised dynamically, as models are published. Our server gets the weights and its manifest.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ENCODER = "all-MiniLM-L6-v2"
MAX_TOKENS = 256

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_PARTS = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
_CONFIGURATION: dict[str, object] = {
    "config.json": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "vocab_size": 30522,
        "pad_token_id": 0,
    },
    "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizerFast",
        "do_lower_case": True,
        "model_max_length": MAX_TOKENS,
        "max_length": MAX_TOKENS,
        **_SPECIAL,
    },
    "special_tokens_map.json": _SPECIAL,
    "modules.json": [
        {
            "idx": place,
            "name": str(place),
            "path": path,
            "type": f"sentence_transformers.models.{part}",
        }
        for place, (part, path) in enumerate(_PARTS.items())
    ],
    "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
    "1_Pooling/config.json": {
        "word_embedding_dimension": 384,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "2_Normalize/README.md": "",
}

_EXPORT = """
import sys, torch, transformers
folder = sys.argv[1]
network = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network

    def forward(self, ids, mask, types):
        read = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return self.network(**read, use_cache=False).last_hidden_state

ids = torch.ones(2, 8, dtype=torch.long)
names = ["input_ids", "attention_mask", "token_type_ids"]
torch.onnx.export(
    Plain(), (ids, ids, 0 * ids), folder + "/model.onnx", input_names=names,
    output_names=["last_hidden_state"], opset_version=17, dynamo=False,
    dynamic_axes={name: {0: "text", 1: "token"} for name in [*names, "last_hidden_state"]},
)
from onnxruntime.quantization import QuantType, quantize_dynamic
quantize_dynamic(
    folder + "/model.onnx", folder + "/model_int8.onnx",
    weight_type=QuantType.QInt8, per_channel=True,
)
"""


def write_published(folder: Path, weights: Path) -> Path:
    """Write the checkpoint as it is published on hubs, with its exported graphs; about 10 s."""
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(weights / name, folder / name)
    for name, content in _CONFIGURATION.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    command = [sys.executable, "-W", "ignore", "-c", _EXPORT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the export failed: {done.stderr[-2000:]}")
    return folder


def write_installed(models: Path, weights: Path, variant: str) -> Path:
    """Write a models folder for our server, with one variant of the encoder."""
    folder = models / ENCODER
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(weights / name, folder / name)
    manifest = (weights / "encoder.toml").read_text(encoding="utf-8")
    changed = manifest.replace('variant = "int8"', f'variant = "{variant}"')
    (folder / "encoder.toml").write_text(changed, encoding="utf-8")
    return models
