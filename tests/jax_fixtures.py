"""JAX fixtures: strict rank and dtype promotion, and a compilation cache that tests and their subprocesses share."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what XLA compiles for all tests and their subprocesses: it takes longer than to run it."""
    settings = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla"))}
    settings |= {"jax_persistent_cache_min_compile_time_secs": "0.5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name.upper(), value)
            jax.config.update(name, float(value) if name.endswith("secs") else value)
        yield
        jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module", autouse=True)
def compile_quickly() -> Iterator[None]:
    """Let XLA optimise little, here and in subprocesses: for so small networks, that takes longer than they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("standard"):
        yield
