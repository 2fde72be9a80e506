"""Fixtures: strict JAX settings and compilation caching for all tests of models."""

from tests.jax_fixtures import compile_once, compile_quickly, strict_jax

__all__ = ["compile_once", "compile_quickly", "strict_jax"]
