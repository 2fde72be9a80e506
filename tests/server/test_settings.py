"""Settings: flags before the environment before the defaults; nonsense gets a sentence."""

import inspect
import re
from pathlib import Path

import pytest

from planespotter_client.commands.main import main
from planespotter_server import cli
from planespotter_server.settings import MIB, ServerError, Settings, load_settings


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


def test_flags_come_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('port = 1\nstream_window = 2\nqueue_photos = 3\nbatch_sizes = [4, 2]\nmodel = "bundles/small"\n')
    monkeypatch.setenv("PLANESPOTTER_STREAM_WINDOW", "20")
    monkeypatch.setenv("PLANESPOTTER_PORT", "10")
    settings = load_settings(config, port=100)
    assert (settings.port, settings.stream_window, settings.queue_photos) == (100, 20, 3)
    assert settings.batch_sizes == (2, 4)
    assert settings.model == tmp_path / "bundles" / "small", "relative to the file"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "stream_windo = 3",
            r"has the line stream_windo, which is no setting of the server\. Did you mean stream_window",
        ),
        ("[server]\nport = 3", r"has the line server, which is no setting of the server\."),
        ("port = ", "cannot be read as TOML"),
        ("port = 'x'", r"setting port \(flag --port, variable PLANESPOTTER_PORT, port in .*toml\) cannot be 'x'"),
    ],
)
def test_nonsense_in_the_file_is_refused_by_name(tmp_path: Path, content: str, sentence: str) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(content)
    with pytest.raises(ServerError, match=sentence):
        load_settings(config)


def test_a_file_that_is_not_there_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"none\.toml cannot be read as TOML: No such file"):
        load_settings(tmp_path / "none.toml")


def test_unknown_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_MAX_DELY_MS", "3")
    with pytest.raises(ServerError, match=r"PLANESPOTTER_MAX_DELY_MS, .* Did you mean PLANESPOTTER_MAX_DELAY_MS"):
        load_settings()


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CHROMIUM": "/usr/bin/chromium",
        "TOKEN": "the client's",
        # Kubernetes sets these for a service that is called planespotter, and for one called planespotter-metrics.
        "PORT": "tcp://10.0.0.1:50051",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "50051",
        "SERVICE_PORT_GRPC": "50051",
        "PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "PORT_50051_TCP_ADDR": "10.0.0.1",
        "METRICS_SERVICE_HOST": "10.0.0.2",
        "METRICS_PORT_9090_TCP_PROTO": "tcp",
    }.items():
        monkeypatch.setenv(f"PLANESPOTTER_{name}", value)
    assert load_settings().port == 50051


def test_every_setting_has_a_flag_whose_help_gives_its_default() -> None:
    parameters = inspect.signature(cli.serve).parameters
    assert set(parameters) == {"config", *Settings.model_fields}
    for name, field in Settings.model_fields.items():
        found = re.search(r"\(default: (.*)\)", parameters[name].annotation.__metadata__[0].help)
        if found is None:
            assert field.default is None
            continue
        said = found[1].partition(":")[0]
        if said in ("one per core", "the first by name"):
            continue
        if said == "no":
            assert field.default is False
        elif name == "batch_sizes":
            assert said == ",".join(map(str, field.default))
        elif said.endswith(" MiB"):
            assert int(said.removesuffix(" MiB")) * MIB == field.default
        else:
            assert said == str(field.default) or float(said) == field.default


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--max-delay-ms=-1", "The setting max_delay_ms"),
        ("--batch-sizes=many", "The setting batch_sizes"),
        ("--no-such-flag", "no-such-flag"),
        ("--config=nowhere.toml", "The settings file nowhere.toml cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage_whoever_finds_it(
    flag: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main(["serve", flag])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
