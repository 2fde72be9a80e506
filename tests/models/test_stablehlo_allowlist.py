"""A bundle can hold no code: a network that would do more than calculate is refused before it is compiled."""

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
    """Return `network` with its one custom call, which is harmless, turned into one of `target`."""
    exported = jax.export.deserialize(bytearray(network))
    with ir.Context() as context:
        stablehlo.register_dialect(context)
        module = stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized)
        [call] = [one for one in walk_operations(module.operation) if one.name == "stablehlo.custom_call"]
        assert ir.StringAttr(call.attributes["call_target_name"]).value == "shape_assertion"
        call.attributes["call_target_name"] = ir.StringAttr.get(target)
        changed = stablehlo.serialize_portable_artifact(module, stablehlo.get_current_version())
    return bytes(replace(exported, mlir_module_serialized=changed).serialize())


@pytest.mark.parametrize("target", ["xla_ffi_python_cpu_callback", "xla_python_cpu_callback", "tpu_custom_call", "x"])
def test_a_network_that_calls_code_is_refused(tiny_bundle: Path, target: str) -> None:
    good = read_bundle(tiny_bundle)
    with pytest.raises(BundleError, match=f"contains the disallowed operation custom_call {target}"):
        load_engine(replace(good, network=with_call(good.network, target)), (1,))


def test_what_is_exported_here_only_calculates(tiny_bundle: Path) -> None:
    exported = jax.export.deserialize(bytearray(read_bundle(tiny_bundle).network))
    assert disallowed_operation(exported.mlir_module_serialized) is None


def test_what_tells_where_the_network_looked_may_only_calculate_too(tiny_bundle: Path) -> None:
    good = read_bundle(tiny_bundle)
    with pytest.raises(BundleError, match="contains the disallowed operation custom_call x"):
        HeatMapExplainer(replace(good, heat_map=with_call(good.network, "x")))
