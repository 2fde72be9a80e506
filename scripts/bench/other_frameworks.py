"""The same network in other frameworks, as their documentation recommends; only those that are installed."""

import contextlib
import importlib.util
import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planespotter_models import Architecture, Bundle, cores
from planespotter_models.architecture import BGR_MEAN

Run = Callable[[NDArray[np.uint8]], object]

PACKAGES = {"PyTorch": ("torch",), "ONNX Runtime": ("onnx", "onnxruntime"), "NNCF": ("nncf",)}


def installed(name: str) -> bool:
    """Return whether the packages of the framework `name` are installed."""
    return all(importlib.util.find_spec(module) is not None for module in PACKAGES[name])


def is_supported(model: Bundle) -> bool:
    """Return whether the network is a trunk, average pooling and heads: the only architecture rebuilt here."""
    return model.architecture == Architecture("average", flip_tta=False) and "hidden.kernel" not in model.weights


def convolutions(model: Bundle) -> list[tuple[NDArray[np.float32], NDArray[np.float32], bool]]:
    """Return for each convolution the RGB kernel [outputs, inputs, rows, columns], the bias, and if pooling follows."""
    from planespotter_models.engines import openvino_graph

    names = openvino_graph.convolution_names(model.weights)
    layers = []
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel = model.weights[f"trunk.layers.{name}.kernel"].transpose(3, 2, 0, 1)
        kernel = kernel[:, ::-1] if name == names[0] else kernel
        pooled = following.partition("_")[0] != name.partition("_")[0]
        layers.append((np.ascontiguousarray(kernel), model.weights[f"trunk.layers.{name}.bias"], pooled))
    return layers


def heads(model: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel [features, classes] and bias [classes] of all heads, concatenated."""
    parts = [
        np.concatenate([model.weights[f"heads.{head}.{part}"] for head in model.tree.heads], axis=-1)
        for part in ("kernel", "bias")
    ]
    return parts[0], parts[1]


def pytorch(model: Bundle) -> Run:
    """Return the network in PyTorch, with the channels-last memory format."""
    import torch

    torch.set_num_threads(cores())
    layers: list[Any] = []
    for kernel, bias, pooled in convolutions(model):
        convolution = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        convolution.weight.data, convolution.bias.data = torch.tensor(kernel), torch.tensor(bias)
        layers += [convolution, torch.nn.ReLU(inplace=True), *([torch.nn.MaxPool2d(2)] if pooled else [])]
    trunk = torch.nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
    kernel, bias = (torch.tensor(part) for part in heads(model))
    mean = torch.tensor(BGR_MEAN[::-1]).reshape(1, 3, 1, 1)

    def run(photos: NDArray[np.uint8]) -> object:
        with torch.inference_mode():
            x = torch.from_numpy(photos).permute(0, 3, 1, 2).float() - mean
            return (trunk(x).mean((2, 3)) @ kernel + bias).numpy()

    return run


def onnx_runtime(model: Bundle) -> Run:
    """Return the network in ONNX Runtime."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, values: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    x = node("Cast", ["photos"], to=TensorProto.FLOAT)
    x = node("Sub", [x, constant("mean", np.array(BGR_MEAN[::-1], np.float32))])
    x = node("Transpose", [x], perm=[0, 3, 1, 2])
    for number, (kernel, bias, pooled) in enumerate(convolutions(model)):
        weights = [constant(f"kernel{number}", kernel), constant(f"bias{number}", bias)]
        x = node("Relu", [node("Conv", [x, *weights], kernel_shape=[3, 3], pads=[1, 1, 1, 1])])
        if pooled:
            x = node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    kernel, bias = heads(model)
    x = node("ReduceMean", [x], axes=[2, 3], keepdims=0)
    x = node("Gemm", [x, constant("heads", kernel), constant("bias", bias)])
    shape = ["n", model.height, model.width, 3]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("photos", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", len(bias)])],
        constants,
    )
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(onnx_model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(None, {"photos": photos})


def openvino_graph(model: Bundle, photos: NDArray[np.uint8] | None = None) -> Any:
    """Return the network as an OpenVINO graph; for int8 inference if calibration photos are given.

    NNCF quantizes it if installed. Otherwise it is the graph of our engine, and only compilation and calls differ.
    """
    from planespotter_models.engines.openvino_graph import build_graph

    assert model.architecture is not None, "our engine needs it, too"
    by_nncf = photos is not None and installed("NNCF")
    int8 = model.int8_calibration if photos is not None and not by_nncf else None
    network = build_graph(
        model.architecture, model.weights, list(model.tree.heads), model.height, model.width, int8=int8
    )
    if by_nncf and photos is not None:
        import nncf

        nncf.set_log_level(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a progress bar
            dataset = nncf.Dataset([photos[index : index + 1] for index in range(len(photos))])
            network = nncf.quantize(network, dataset, subset_size=len(photos))
    return network


def openvino(graph: Any, size: int) -> Run:
    """Compile `graph` with OpenVINO for batches of `size` photos."""
    from planespotter_models.engines.openvino_import import openvino as ov

    graph.reshape([size, *list(graph.input(0).partial_shape)[1:]])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(graph, "CPU", settings)
    return lambda batch: compiled(batch)
