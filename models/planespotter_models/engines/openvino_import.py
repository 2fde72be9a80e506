"""Import OpenVINO without its telemetry: always import it from here.

The openvino package pulls in openvino_telemetry, which forks a process and reports each import to the vendor. OpenVINO
works without it where it cannot be imported.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import raises ImportError

import openvino  # noqa: E402
from openvino import opset15  # noqa: E402

__all__ = ["openvino", "opset15"]
