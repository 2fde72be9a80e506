"""Hardware detection: CPU cores under a container's quota."""

from pathlib import Path

import pytest

from planespotter_models import cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("nonsense", None), (None, None)],
)
def test_cores_are_capped_by_the_cpu_quota_of_the_container(
    tmp_path: Path, quota: str | None, expected: int | None
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    assert cores(file) == (expected or cores(tmp_path / "none"))
