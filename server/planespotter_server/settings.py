"""What an operator can set: by a flag of `planespotter serve`, a variable PLANESPOTTER_... or a line of a TOML file."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from planespotter_models import EngineChoice, EngineMode, cores

MIB = 1024 * 1024
PREFIX = "PLANESPOTTER_"
# What a message needs beside its photo: names, options, lengths.
ENVELOPE_BYTES = 1024
INT32 = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=INT32)]  # GetModel reports the limits as int32
Size = Annotated[int, Field(ge=1, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]

PATHS = ("model", "models", "engine_cache", "tls_cert", "tls_key", "tls_client_ca", "tokens")

# Variables with our prefix that belong to others: other rooms', and those that Kubernetes sets in every container
# beside a service that is called planespotter.
FOREIGN_VARIABLES = re.compile(
    rf"{PREFIX}(CHROMIUM|TOKEN|([A-Z0-9_]+_)?SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|([A-Z0-9_]+_)?PORT_[0-9]+_[A-Z0-9_]+)"
)


class ServerError(Exception):
    """The server cannot start; the text says why and what to do."""


class SettingsError(ServerError):
    """A setting is none, or has a value that it cannot have."""

    exit_code = 2  # wrong usage, as of a flag that is unknown


class Settings(BaseSettings):
    """Settings of the server. Sizes are in bytes and times in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0 takes any free port."""
    insecure: bool = False
    """Whether to listen beyond loopback without TLS, where anybody in between can read photos and tokens."""
    tls_cert: Path | None = None
    """PEM file of the server's certificate and those of the authorities in between."""
    tls_key: Path | None = None
    """PEM file of its private key."""
    tls_client_ca: Path | None = None
    """PEM file of the authority whose certificate every client must show."""
    tokens: Path | None = None
    """File of the tokens of which each call, but for health, must bring one: see tokens.py."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where Prometheus reads metrics; 0 takes any free port, None for none."""
    metrics_host: str = "127.0.0.1"
    log_calls: bool = False
    """Whether each call leaves a line in the log."""
    otlp_endpoint: str | None = None
    """Where to send traces, by OTLP over gRPC; None for nowhere."""
    model: Path | None = None
    """Folder of the one bundle to serve."""
    models: Path | None = None
    """Folder of many: NAME/VERSION/bundle.json."""
    default_model: str = ""
    """Name of the model that answers requests which give none; "" for the first in natural order."""
    versions_per_model: Count = 1
    """How many versions of each model in `models` are served at a time, the highest ones."""
    poll_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = 10.0
    """How often `models` is looked through for new versions."""
    batch_sizes: Annotated[tuple[Count, ...], NoDecode, Field(min_length=1)] = (1, 2, 4, 8, 16, 32)
    """Numbers of photos for which the network is compiled; in flags and the environment separated by commas."""
    engine: EngineChoice = EngineChoice.AUTO
    """What runs the network."""
    engine_mode: EngineMode = EngineMode.LATENCY
    """Whether all cores work on one batch, or each on one of its own."""
    engine_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads with which OpenVINO computes; 0 takes one per core."""
    engine_cache: Path | None = None
    """Where XLA keeps what it has compiled; None for the user's own cache. What is read from there is run."""
    batches_in_flight: Annotated[int, Field(ge=0, le=64)] = 0
    """Batches that are handed to the device at a time; 0 takes as many as the engine works on, and one that is made
    ready meanwhile."""
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """How long an idle device waits for a batch to fill."""
    decode_threads: Count = cores()
    max_photo_bytes: Count = 16 * MIB
    max_photo_pixels: Count = 40_000_000
    max_batch_photos: Count = 64
    max_message_bytes: Count = 64 * MIB
    """At least one photo of `max_photo_bytes` must fit."""
    max_alternatives: Annotated[int, Field(ge=0, le=INT32)] = 20
    max_streams: Count = 256
    """How many streams of all callers are open at a time."""
    stream_window: Count = 64
    """How many photos of one stream are worked on at a time. Twice the largest batch keeps the device busy: one batch
    runs while the next is decoded."""
    stream_window_bytes: Size = 64 * MIB
    """The same in bytes; the last photo may go over it, as its size is known only once it is read."""
    max_client_calls: Count = 256
    """How many calls one client may have open, streams included. A client is a token, or else an address."""
    queue_photos: Count = 1024
    """How many photos of all callers are worked on at a time."""
    queue_bytes: Size = 512 * MIB
    queue_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """How long the photo of a single call may have to wait for its turn, by the pace of those before it; one that would
    wait longer is refused, unless there are fewer than `max_batch_photos` before it."""
    drain_seconds: Seconds = 0.5
    """How long a stop still takes photos after health has said NOT_SERVING, so that load balancers can turn away."""
    grace_seconds: Seconds = 30.0
    """How long a stop waits in all for what is in work."""
    device_failures: Count = 5
    """Batches in a row of which no photo comes through, after which the device counts as broken."""
    device_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """How long a batch may take before the device counts as broken."""

    @field_validator("max_message_bytes")
    @classmethod
    def _holds_a_photo(cls, value: int, info: ValidationInfo) -> int:
        largest = info.data.get("max_photo_bytes")  # None if that was refused itself
        if largest is not None and value < largest + ENVELOPE_BYTES:
            raise ValueError(
                f"it must hold the largest photo (max_photo_bytes is {largest}) and {ENVELOPE_BYTES} bytes for what "
                f"goes with it, so at least {largest + ENVELOPE_BYTES}"
            )
        return value

    @field_validator("batch_sizes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("batch_sizes")
    @classmethod
    def _sorted(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(value)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the first one first."""
        return init_settings, env_settings


def load_settings(config: Path | None = None, **flags: object) -> Settings:
    """Return the settings: `flags` (None: not given) before the environment before `config` before the defaults.

    Raises SettingsError, also for what is no setting.
    """
    in_file = _read_config(config) if config else {}
    in_environment = _check_environment()
    given = {name: value for name, value in flags.items() if value is not None}
    # What comes from the file counts only where nothing comes before it.
    given |= {name: value for name, value in in_file.items() if name not in given and name not in in_environment}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        where = f", {name} in {config}" if config and name in in_file else ""
        raise SettingsError(
            f"The setting {name} (flag --{name.replace('_', '-')}, variable {PREFIX}{name.upper()}{where}) cannot be "
            f"{first['input']!r}: {message[0].lower()}{message[1:]}."
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"The settings file {path} cannot be read as TOML: {why}.") from error
    _refuse_unknown(content, Settings.model_fields, f"The settings file {path} has the line {{}}")
    for name in PATHS:  # as the shell would not: relative to the file, which may be used from anywhere
        if isinstance(content.get(name), str):
            content[name] = path.parent / content[name]
    return content


def _check_environment() -> set[str]:
    """Return which settings the environment gives."""
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):  # of Kubernetes: see FOREIGN_VARIABLES
        del os.environ[f"{PREFIX}PORT"]
    ours = [name for name in os.environ if name.startswith(PREFIX) and not FOREIGN_VARIABLES.fullmatch(name)]
    variables = [PREFIX + name.upper() for name in Settings.model_fields]
    _refuse_unknown(ours, variables, "The environment has the variable {}")
    return {name.removeprefix(PREFIX).lower() for name in ours}


def _refuse_unknown(names: Iterable[str], settings: Iterable[str], where: str) -> None:
    known = {one.removeprefix(PREFIX): one for one in settings}  # the prefix alone is no likeness
    for name in names:
        if name not in known.values():
            close = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1)
            meant = f"Did you mean {known[close[0]]}?" if close else "`planespotter serve --help` lists them all."
            raise SettingsError(f"{where.format(name)}, which is no setting of the server. {meant}")
