"""Text encoders as ONNX graphs, built from their tensors alone: no torch anywhere.

checkpoint (`architecture.py`, `tensors.py`) → one layout for all families (`families.py` reads it,
`network.py` says what it is) → nodes (`transformer.py`, `heads.py`, written with `graph.py`).
"""
