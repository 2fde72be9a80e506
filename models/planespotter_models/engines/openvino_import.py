"""OpenVINO, and nothing else: import it from here.

Its package brings another one that reports each import to its makers, from a process that it forks. Where that one
cannot be imported, OpenVINO goes without.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # who imports it gets an ImportError

import openvino  # noqa: E402
from openvino import opset15  # noqa: E402

__all__ = ["openvino", "opset15"]
