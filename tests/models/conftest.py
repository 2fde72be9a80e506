"""JAX is strict in these tests."""

from tests.jax_fixtures import compile_once, compile_quickly, strict_jax

__all__ = ["compile_once", "compile_quickly", "strict_jax"]
