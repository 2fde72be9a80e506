"""Look through a network before it is compiled: it may calculate, and nothing else."""

from collections.abc import Iterator
from typing import Any

# builtin and func hold the others together; stablehlo and chlo calculate.
DIALECTS = {"builtin", "chlo", "func", "stablehlo"}
# Custom calls run code of this machine, by its name: some call back into Python, some take an address from the network
# itself. These do not: JAX works them off while it fixes the number of photos, before anything is compiled.
HARMLESS = {"shape_assertion", "stablehlo.dynamic_reduce_window", "stablehlo.dynamic_top_k"}


def strange_operation(serialised: bytes) -> str | None:
    """Return the name of an operation in `serialised` (StableHLO as JAX exports it) that is no arithmetic, else None.

    Raises what MLIR raises for bytes that are no StableHLO.
    """
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import stablehlo

    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, serialised)
        for operation in operations(module.operation):
            if operation.name.partition(".")[0] not in DIALECTS:
                return str(operation.name)
            if operation.name == "stablehlo.custom_call":
                target = ir.StringAttr(operation.attributes["call_target_name"]).value
                if target not in HARMLESS:
                    return f"custom_call {target}"
    return None


def operations(root: Any) -> Iterator[Any]:
    """Yield `root`, an operation of MLIR, and all that it holds."""
    yield root
    for region in root.regions:
        for block in region:
            for operation in block:
                yield from operations(operation.operation)
