"""`encoder.toml`: what an encoder is."""

from app.encoders.manifest.files import HubSource, ModelFile, PackageSource
from app.encoders.manifest.graph import Batch, BuiltGraph, Graph, HeadName, ReadyGraph, Variant
from app.encoders.manifest.image import Framing, ImageSpec
from app.encoders.manifest.manifest import FILE_NAME, FORMAT, Manifest, read_manifest
from app.encoders.manifest.pair import PairSpec
from app.encoders.manifest.text import (
    Activation,
    Dense,
    Output,
    Pool,
    SparseOutput,
    TextInput,
    TextSpec,
    TokenOutput,
)

__all__ = [
    "FILE_NAME",
    "FORMAT",
    "Activation",
    "Batch",
    "BuiltGraph",
    "Dense",
    "Framing",
    "Graph",
    "HeadName",
    "HubSource",
    "ImageSpec",
    "Manifest",
    "ModelFile",
    "Output",
    "PackageSource",
    "PairSpec",
    "Pool",
    "ReadyGraph",
    "SparseOutput",
    "TextInput",
    "TextSpec",
    "TokenOutput",
    "Variant",
    "read_manifest",
]
