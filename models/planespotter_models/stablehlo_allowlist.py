"""Allow-list of StableHLO operations: check that an exported function can only do arithmetic before it is compiled."""

from collections.abc import Iterator
from typing import Any

ALLOWED_DIALECTS = {"builtin", "chlo", "func", "stablehlo"}
"""`builtin` and `func` give the structure; `stablehlo` and `chlo` do the arithmetic."""

# A custom call runs native code by its name: some call back into Python, some take an address from the network. JAX
# resolves these three while it fixes the batch size, before anything is compiled.
ALLOWED_CUSTOM_CALLS = {"shape_assertion", "stablehlo.dynamic_reduce_window", "stablehlo.dynamic_top_k"}


def disallowed_operation(serialized: bytes) -> str | None:
    """Find the first operation outside the allow-list.

    Args:
        serialized: A portable StableHLO artifact, as JAX exports it.

    Returns:
        Its name; None if all operations are allowed.

    Raises:
        Exception: MLIR's own error for bytes that are not StableHLO.
    """
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import stablehlo

    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, serialized)
        for operation in walk_operations(module.operation):
            if operation.name.partition(".")[0] not in ALLOWED_DIALECTS:
                return str(operation.name)
            if operation.name == "stablehlo.custom_call":
                target = ir.StringAttr(operation.attributes["call_target_name"]).value
                if target not in ALLOWED_CUSTOM_CALLS:
                    return f"custom_call {target}"
    return None


def walk_operations(root: Any) -> Iterator[Any]:
    """Yield `root`, an MLIR operation, and all operations nested in it."""
    yield root
    for region in root.regions:
        for block in region:
            for operation in block:
                yield from walk_operations(operation.operation)
