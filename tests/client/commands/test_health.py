"""`planespotter health` against a real server."""

import pytest

from planespotter_client.commands.main import main


def health(*arguments: str) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["health", *arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.mark.slow
@pytest.mark.e2e
def test_exit_code_is_0_if_the_server_is_serving(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health("--server", address) == 0
    assert capsys.readouterr().out == "SERVING\n"
    assert health("--server", address, "--service", "planespotter.v1.ClassifierService") == 0
    assert health("--server", "127.0.0.1:1", "--timeout", "60") == 1
    assert "No planespotter server responds" in capsys.readouterr().err
