"""Settings: declared once; options have precedence over environment, file and defaults; invalid ones are rejected."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from scripts.generate_settings_table import PAGE, updated

from planespotter_client.commands.main import build_app, main
from planespotter_models import EngineChoice, EngineMode
from planespotter_server.settings import (
    MIB,
    ServerError,
    Settings,
    default_text,
    load_settings,
    option_of,
    value_type,
)


def test_options_have_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_PORT", "1234")
    monkeypatch.setenv("PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM", "7")
    settings = load_settings(port=99, host=None)
    assert (settings.port, settings.max_in_flight_per_stream, settings.host) == (99, 7, "127.0.0.1")


@pytest.mark.parametrize("sizes", ["1,2,16", "1, 2, 16"])
def test_batch_sizes_are_separated_by_commas(sizes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_BATCH_SIZES", sizes)
    assert load_settings().batch_sizes == (1, 2, 16)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("batch_sizes", "1,x"),
        ("batch_sizes", "0"),
        ("max_in_flight_per_stream", 0),
        ("max_photo_bytes", 2**40),
        ("engine", "tpu"),
    ],
)
def test_error_for_an_invalid_value_names_the_option(name: str, value: object) -> None:
    with pytest.raises(ServerError, match=f"^{name} is invalid: .*--{name.replace('_', '-')}"):
        load_settings(None, **{name: value})


def test_max_message_bytes_must_fit_the_largest_photo() -> None:
    with pytest.raises(
        ServerError, match=r"max_message_bytes is invalid: 10, the minimum is 16778240: .*--max-message-bytes"
    ):
        load_settings(max_message_bytes=10)
    with pytest.raises(ServerError, match="--max-message-bytes"):
        load_settings(max_photo_bytes=100 * 1024 * 1024)  # does not fit into the default either
    assert load_settings(max_message_bytes=2024, max_photo_bytes=1000).max_message_bytes == 2024


def test_environment_has_precedence_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(
        "port = 1\nmax_in_flight_per_stream = 2\nmax_in_flight_photos = 3\nbatch_sizes = [4, 2]\n"
        'model = "bundles/small"\n'
    )
    monkeypatch.setenv("PLANESPOTTER_MAX_IN_FLIGHT_PER_STREAM", "20")
    monkeypatch.setenv("PLANESPOTTER_PORT", "10")
    settings = load_settings(config, port=100)
    assert (settings.port, settings.max_in_flight_per_stream, settings.max_in_flight_photos) == (100, 20, 3)
    assert settings.batch_sizes == (2, 4)
    assert settings.model == tmp_path / "bundles" / "small", "relative to the file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("max_stream = 3", r"Unknown key in the settings file .*\.toml: max_stream\. Did you mean max_streams\?"),
        ("[server]\nport = 3", r"Unknown key in the settings file .*\.toml: server\."),
        ("port = ", "cannot be read as TOML"),
        ("port = 'x'", r"port is invalid: 'x', .*--port, PLANESPOTTER_PORT, or port in .*toml"),
    ],
)
def test_error_for_the_file_names_the_key(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(content)
    with pytest.raises(ServerError, match=message):
        load_settings(config)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"none\.toml cannot be read as TOML: No such file"):
        load_settings(tmp_path / "none.toml")


def test_unknown_environment_variables_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANESPOTTER_MAX_DELY_MS", "3")
    with pytest.raises(ServerError, match=r"PLANESPOTTER_MAX_DELY_MS\. Did you mean PLANESPOTTER_MAX_DELAY_MS"):
        load_settings()


def test_variables_of_kubernetes_and_of_other_packages_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
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


def serve_options() -> dict[str, Any]:
    [command] = [
        command
        for name, command in typer.main.get_command(build_app()).commands.items()  # type: ignore[attr-defined]
        if name == "serve"
    ]
    return {parameter.name: parameter for parameter in command.params}


def test_every_setting_is_an_option_whose_help_shows_its_default() -> None:
    options = serve_options()
    assert set(options) == {"config", *Settings.model_fields}
    for name, field in Settings.model_fields.items():
        option = options[name]
        assert f"--{name.replace('_', '-')}" in option.opts
        assert option.help.startswith(option_of(field).help)
        shown = re.search(r"\(default: (.*)\)", option.help)
        if shown is None:
            assert field.default is None
        elif option_of(field).default is not None:
            assert shown[1] == option_of(field).default
        elif value_type(field) is bool:
            assert shown[1] == ("yes" if field.default else "no")
            assert f"--no-{name.replace('_', '-')}" in option.secondary_opts
        elif name == "batch_sizes":
            assert shown[1] == ",".join(map(str, field.default))
        elif shown[1].endswith(" MiB"):
            assert int(shown[1].removesuffix(" MiB")) * MIB == field.default
        else:
            assert shown[1] == str(field.default) or float(shown[1]) == field.default


def test_sizes_and_durations_name_their_unit() -> None:
    for name, field in Settings.model_fields.items():
        option = option_of(field)
        unit = {"<bytes>": "in bytes", "<seconds>": "in seconds", "<ms>": "in milliseconds"}.get(option.metavar or "")
        assert unit is None or unit in option.help, name
        assert unit is not None or not name.endswith(("_bytes", "_seconds", "_ms", "_wait", "_timeout")), name


def test_engines_are_those_of_the_models() -> None:
    assert get_args(Settings.model_fields["engine"].annotation) == tuple(EngineChoice)
    assert get_args(Settings.model_fields["engine_mode"].annotation) == tuple(EngineMode)


def test_default_of_every_setting_is_valid() -> None:
    settings = load_settings()
    for name, field in Settings.model_fields.items():
        assert field.default_factory is not None or getattr(settings, name) == field.default
        assert default_text(field) or field.default is None


def test_table_in_the_docs_is_generated_from_the_settings() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == updated(page), "run: python -m scripts.generate_settings_table"


def test_help_imports_neither_grpc_nor_an_engine() -> None:
    code = (
        "import sys\nfrom planespotter_server.cli import app\n"
        "try:\n    app(['serve', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('jax', 'grpc', 'numpy', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--max-delay-ms=-1", "max_delay_ms is invalid"),
        ("--batch-sizes=many", "batch_sizes is invalid"),
        ("--no-such-flag", "no-such-flag"),
        ("--config=nowhere.toml", "The settings file nowhere.toml cannot be read"),
    ],
)
def test_invalid_setting_is_wrong_usage(
    option: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main(["serve", option])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
