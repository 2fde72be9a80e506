"""Allow-list of StableHLO operations: a bundle that could run code is rejected before it is compiled."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.export
import pytest
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo

from planespotter_models import BundleError, load_engine, read_bundle
from planespotter_models.engines.explainer import HeatMapExplainer
from planespotter_models.stablehlo_allowlist import disallowed_operation, walk_operations


def with_call(network: bytes, target: str) -> bytes:
    """Return `network` with the target of its only custom call, an allowed one, replaced by `target`."""
    exported = jax.export.deserialize(bytearray(network))
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized)
        [call] = [
            operation for operation in walk_operations(module.operation) if operation.name == "stablehlo.custom_call"
        ]
        assert ir.StringAttr(call.attributes["call_target_name"]).value == "shape_assertion"
        call.attributes["call_target_name"] = ir.StringAttr.get(target)
        changed = stablehlo.serialize_portable_artifact(module, stablehlo.get_current_version())
    return bytes(replace(exported, mlir_module_serialized=changed).serialize())


@pytest.mark.parametrize("target", ["xla_ffi_python_cpu_callback", "xla_python_cpu_callback", "tpu_custom_call", "x"])
def test_network_with_a_custom_call_is_rejected(tiny_bundle: Path, target: str) -> None:
    good = read_bundle(tiny_bundle)
    with pytest.raises(BundleError, match=f"contains the disallowed operation custom_call {target}"):
        load_engine(replace(good, network=with_call(good.network, target)), (1,))


def test_exported_network_contains_allowed_operations_only(tiny_bundle: Path) -> None:
    exported = jax.export.deserialize(bytearray(read_bundle(tiny_bundle).network))
    assert disallowed_operation(exported.mlir_module_serialized) is None


def test_heat_map_function_with_a_custom_call_is_rejected(tiny_bundle: Path) -> None:
    good = read_bundle(tiny_bundle)
    with pytest.raises(BundleError, match="contains the disallowed operation custom_call x"):
        HeatMapExplainer(replace(good, heat_map=with_call(good.network, "x")))
