"""Settings: flags before the environment before the defaults; nonsense gets a sentence."""

import pytest

from planespotter_server.settings import ServerError, load_settings


def test_flags_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_PORT", "1234")
    monkeypatch.setenv("PLANESPOTTER_STREAM_WINDOW", "7")
    settings = load_settings(port=99, host=None)
    assert (settings.port, settings.stream_window, settings.host) == (99, 7, "127.0.0.1")


@pytest.mark.parametrize("sizes", ["1,2,16", "1, 2, 16"])
def test_batch_sizes_are_separated_by_commas(sizes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_BATCH_SIZES", sizes)
    assert load_settings().batch_sizes == (1, 2, 16)


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("batch_sizes", "1,x"), ("batch_sizes", "0"), ("stream_window", 0), ("max_photo_bytes", 2**40)],
)
def test_nonsense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ServerError, match=f"--{name.replace('_', '-')}"):
        load_settings(None, **{name: value})


def test_a_message_must_hold_the_largest_photo() -> None:
    with pytest.raises(
        ServerError, match=r"--max-message-bytes.*cannot be 10: it must hold the largest photo.*16778240"
    ):
        load_settings(max_message_bytes=10)
    with pytest.raises(ServerError, match="--max-message-bytes"):
        load_settings(max_photo_bytes=100 * 1024 * 1024)  # does not fit into the default either
    assert load_settings(max_message_bytes=2024, max_photo_bytes=1000).max_message_bytes == 2024
