"""The families of text encoders: what their checkpoints call the parts, and how they differ.

| family | differs from BERT by |
|---|---|
| `bert` | – |
| `roberta` | positions begin at row `pad_token_id` + 1; another classification head |
| `distilbert` | no token types; another classification head |
| `mpnet` | no token types; positions as RoBERTa; attention logits gain a bias by distance |
| `electra` | embeddings may be narrower and projected; another classification head |

XLM-R and CamemBERT are RoBERTa by another name. All share one network
(`app.encoders.networks.network`), so a family is a table of names and the few facts above.

Sources: tensor names as in the published checkpoints; Liu et al. 2019 (arXiv 1907.11692), Sanh et
al. 2019 (arXiv 1910.01108), Song et al. 2020 (arXiv 2004.09297), Clark et al. 2020 (arXiv
2003.10555).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.encoders.networks.network import Activation

FamilyName = Literal["bert", "roberta", "distilbert", "mpnet", "electra"]


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Parts of a layer, each below `prefix`, the layer's number, and a dot."""

    prefix: str
    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    wide: str
    narrow: str
    norm: str


@dataclass(frozen=True, slots=True)
class ClassifierNames:
    """Parts of the classification head, and the activation between the two products."""

    dense: str
    activation: Activation
    out: str


@dataclass(frozen=True, slots=True)
class PredictorNames:
    """Parts of the masked-language head.

    decoder     its weight; the table of words where a checkpoint has none
    biases      names that its bias may have
    activation  None: that of the layers
    """

    dense: str
    activation: Activation | None
    norm: str
    decoder: str
    biases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """What one family's checkpoints call the parts, and how the family differs.

    prefix    before the names of the network in checkpoints that have a head
    padded    whether the first position is row `pad_token_id` + 1 of the table, not row 0
    types     whether there are token types
    relative  the table of biases by distance, [bucket, head]; None: there is none
    """

    prefix: str
    layer: LayerNames
    classifier: ClassifierNames
    predictor: PredictorNames
    padded: bool = False
    types: bool = True
    relative: str | None = None


_BERT_LAYER = LayerNames(
    prefix="encoder.layer.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    wide="intermediate.dense",
    narrow="output.dense",
    norm="output.LayerNorm",
)
_LM_HEAD = PredictorNames(
    dense="lm_head.dense",
    activation="gelu",
    norm="lm_head.layer_norm",
    decoder="lm_head.decoder",
    biases=("lm_head.bias", "lm_head.decoder.bias"),
)

FAMILIES: dict[FamilyName, Family] = {
    "bert": Family(
        prefix="bert.",
        layer=_BERT_LAYER,
        classifier=ClassifierNames("pooler.dense", "tanh", "classifier"),
        predictor=PredictorNames(
            dense="cls.predictions.transform.dense",
            activation=None,
            norm="cls.predictions.transform.LayerNorm",
            decoder="cls.predictions.decoder",
            biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
        ),
    ),
    "roberta": Family(
        prefix="roberta.",
        layer=_BERT_LAYER,
        classifier=ClassifierNames("classifier.dense", "tanh", "classifier.out_proj"),
        predictor=_LM_HEAD,
        padded=True,
    ),
    "distilbert": Family(
        prefix="distilbert.",
        layer=LayerNames(
            prefix="transformer.layer.",
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            output="attention.out_lin",
            attention_norm="sa_layer_norm",
            wide="ffn.lin1",
            narrow="ffn.lin2",
            norm="output_layer_norm",
        ),
        classifier=ClassifierNames("pre_classifier", "relu", "classifier"),
        predictor=PredictorNames(
            dense="vocab_transform",
            activation=None,
            norm="vocab_layer_norm",
            decoder="vocab_projector",
            biases=("vocab_projector.bias",),
        ),
        types=False,
    ),
    "mpnet": Family(
        prefix="mpnet.",
        layer=LayerNames(
            prefix="encoder.layer.",
            query="attention.attn.q",
            key="attention.attn.k",
            value="attention.attn.v",
            output="attention.attn.o",
            attention_norm="attention.LayerNorm",
            wide="intermediate.dense",
            narrow="output.dense",
            norm="output.LayerNorm",
        ),
        classifier=ClassifierNames("classifier.dense", "tanh", "classifier.out_proj"),
        predictor=_LM_HEAD,
        padded=True,
        types=False,
        relative="encoder.relative_attention_bias",
    ),
    "electra": Family(
        prefix="electra.",
        layer=_BERT_LAYER,
        classifier=ClassifierNames("classifier.dense", "gelu", "classifier.out_proj"),
        predictor=PredictorNames(
            dense="generator_predictions.dense",
            activation="gelu",
            norm="generator_predictions.LayerNorm",
            decoder="generator_lm_head",
            biases=("generator_lm_head.bias",),
        ),
    ),
}
