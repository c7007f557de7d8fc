"""Text encoders as ONNX graphs, built from their tensors alone: no torch anywhere.

files (`config.py`, `checkpoint.py`) → one layout for all families (`network.py` says what it is,
`families.py` reads it by the names in `names.py`) → nodes (`transformer.py`, `heads.py`, written
with `graph.py`).
"""
