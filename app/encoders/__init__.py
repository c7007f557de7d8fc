from __future__ import annotations

import os

# ONNX Runtime 1.29 and later report usage to their vendor unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
