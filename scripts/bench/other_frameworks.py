"""The same network in other libraries, used by hand as their manuals say: those that are installed here."""

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

NEEDS = {"PyTorch": ("torch",), "ONNX Runtime": ("onnx", "onnxruntime"), "NNCF": ("nncf",)}


def installed(name: str) -> bool:
    """Whether what is called `name` in NEEDS can be imported."""
    return all(importlib.util.find_spec(module) is not None for module in NEEDS[name])


def plain(model: Bundle) -> bool:
    """Whether the network is a trunk, a mean and heads, which is what is built here."""
    return model.architecture == Architecture("average", flip_tta=False) and "hidden.kernel" not in model.weights


def convolutions(model: Bundle) -> list[tuple[NDArray[np.float32], NDArray[np.float32], bool]]:
    """Return kernels [outputs, inputs, rows, columns] for red, green, blue, biases, and whether pooling follows."""
    from planespotter_models.engines import openvino_graph

    names = openvino_graph.convolution_names(model.weights)
    found = []
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel = model.weights[f"trunk.layers.{name}.kernel"].transpose(3, 2, 0, 1)
        kernel = kernel[:, ::-1] if name == names[0] else kernel
        pooled = following.partition("_")[0] != name.partition("_")[0]
        found.append((np.ascontiguousarray(kernel), model.weights[f"trunk.layers.{name}.bias"], pooled))
    return found


def heads(model: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel [features, classes] and bias of all heads side by side."""
    parts = [
        np.concatenate([model.weights[f"heads.{head}.{part}"] for head in model.tree.heads], axis=-1)
        for part in ("kernel", "bias")
    ]
    return parts[0], parts[1]


def pytorch(model: Bundle) -> Run:
    """Return the network as PyTorch runs it, in the layout of memory that suits its convolutions."""
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
    """Return the network as ONNX Runtime runs it."""
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
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(None, {"photos": photos})


def openvino_graph(model: Bundle, photos: NDArray[np.uint8] | None = None) -> Any:
    """Return the network as a graph of OpenVINO; in 8 bits if `photos` to prepare it on are given.

    It is prepared by NNCF where that is installed, else it is the graph of our own engine; what is by hand is then how
    it is compiled and called.
    """
    from planespotter_models.engines.openvino_graph import build_graph

    assert model.architecture is not None, "our own engine would not have built it either"
    by_nncf = photos is not None and installed("NNCF")
    int8 = model.int8_calibration if photos is not None and not by_nncf else None
    network = build_graph(
        model.architecture, model.weights, list(model.tree.heads), model.height, model.width, int8=int8
    )
    if by_nncf and photos is not None:
        import nncf

        nncf.set_log_level(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):  # it would draw its progress
            shown = nncf.Dataset([photos[index : index + 1] for index in range(len(photos))])
            network = nncf.quantize(network, shown, subset_size=len(photos))
    return network


def openvino(graph: Any, size: int) -> Run:
    """Return `graph` as OpenVINO runs it for `size` photos."""
    from planespotter_models.engines.openvino_import import openvino as ov

    graph.reshape([size, *list(graph.input(0).partial_shape)[1:]])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(graph, "CPU", settings)
    return lambda batch: compiled(batch)
