"""Settings of the server: each is declared once, with type, range, default, unit and help.

The declarations are the only source of the options of `planespotter serve`, of the environment variables
(PLANESPOTTER_...), of the keys of a TOML file, and of the table in docs/operating.md.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from planespotter_photos import DEFAULT_MAX_DECODED_BYTES, DEFAULT_MAX_PIXELS

MIB = 1024 * 1024
PREFIX = "PLANESPOTTER_"
# What a message needs in addition to its photo: names, options, lengths.
ENVELOPE_BYTES = 1024
INT32 = 2**31 - 1
# Share of the machine's or container's memory that the server uses at most.
MEMORY_SHARE = 0.8
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1, le=INT32)]  # GetServerInfo reports counts as int32
Bytes = Annotated[int, Field(ge=1, le=2**63 - 1)]
PhotoBytes = Annotated[int, Field(ge=1, le=INT32)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]

# Panels of `planespotter serve --help`, and headings of the table in the docs.
LISTENING, ACCESS, OBSERVABILITY = "Listening", "Access", "Observability"
MODELS, INFERENCE, LIMITS, SHUTDOWN = "Models", "Batching and inference", "Limits", "Shutdown"

# Variables with our prefix that are not settings: those of other packages, and those that Kubernetes sets in every
# container next to a service that is called planespotter.
FOREIGN_VARIABLES = re.compile(
    rf"{PREFIX}(CHROMIUM|SERVER|TOKEN|([A-Z0-9_]+_)?SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|([A-Z0-9_]+_)?PORT_[0-9]+_[A-Z0-9_]+)"
)


class ServerError(Exception):
    """The server cannot start; the text says why and what to do."""


class SettingsError(ServerError):
    """A setting is unknown or has an invalid value."""

    exit_code = 2  # wrong usage, the same as for an unknown option


@dataclass(frozen=True)
class Option:
    """How a setting is presented to users: in the help of `planespotter serve` and in the docs.

    Args:
        help: A phrase that starts with a noun or a verb and names the unit.
        panel: Group of options that it belongs to.
        metavar: What its value is: a unit, a file; None for the name of its type.
        default: Text for the default, where the value itself says too little.
        advice: When to change it; for the docs only.
    """

    help: str
    panel: str = LISTENING
    metavar: str | None = None
    default: str | None = None
    advice: str = ""


def _cores() -> int:
    from planespotter_models import cores  # imports NumPy, which `--help` does not need

    return cores()


def _memory_limit() -> int:
    return int(available_bytes() * MEMORY_SHARE)


def available_bytes() -> int:
    """Return the memory of the machine, or the limit of its container if that is lower, in bytes."""
    limits = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_bytes()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=2**63 - 1)


class Settings(BaseModel):
    """Settings of the server: sizes in bytes and times in seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    host: Annotated[str, Option("Address to listen on, or unix:/PATH for a Unix socket.")] = "127.0.0.1"
    port: Annotated[Port, Option("Port to listen on; 0 picks a free one.")] = 50051

    workers: Annotated[
        int,
        Field(ge=0, le=256),
        Option(
            "Server processes that share the port, the cores and the limits; 0 is one per core, or one in all with an "
            "accelerator.",
            LISTENING,
            "<count>",
            advice="The kernel assigns each connection to one of them: more than one is for clients with many "
            "connections.",
        ),
    ] = 1

    tls_cert: Annotated[
        Path | None,
        Option(
            "Certificate of the server and its intermediates (PEM). Reloaded when it changes, as are the files below.",
            ACCESS,
            "<file>",
        ),
    ] = None
    tls_key: Annotated[Path | None, Option("Private key of the certificate (PEM).", ACCESS, "<file>")] = None
    tls_client_ca: Annotated[
        Path | None, Option("Require client certificates that are signed by this authority (PEM).", ACCESS, "<file>")
    ] = None
    tokens: Annotated[
        Path | None, Option("Require a token of this file in each call: see planespotter token.", ACCESS, "<file>")
    ] = None
    insecure: Annotated[
        bool,
        Option(
            "Allow listening beyond loopback without TLS.",
            ACCESS,
            advice="Anyone in between can then read photos and tokens.",
        ),
    ] = False

    metrics_port: Annotated[
        Port | None, Option("Port for Prometheus metrics over HTTP; 0 picks a free one.", OBSERVABILITY, default="off")
    ] = None
    metrics_host: Annotated[str, Option("Address for the metrics.", OBSERVABILITY)] = "127.0.0.1"
    access_log: Annotated[bool, Option("Log a line for each call.", OBSERVABILITY)] = False
    otlp_endpoint: Annotated[
        str | None,
        Option(
            "OpenTelemetry collector to send traces to over gRPC, such as http://127.0.0.1:4317. Needs the tracing "
            "extra.",
            OBSERVABILITY,
            "<url>",
            default="off",
        ),
    ] = None

    model: Annotated[Path | None, Option("Folder of a single bundle to serve.", MODELS, "<dir>")] = None
    model_repository: Annotated[
        Path | None,
        Option(
            "Folder of bundles to serve: NAME/VERSION/bundle.json. New versions are loaded while the server runs.",
            MODELS,
            "<dir>",
            default="the models that ship with planespotter, unless --model is set",
        ),
    ] = None
    default_model: Annotated[
        str,
        Option(
            "Name of the model for requests that do not name one.", MODELS, "<name>", default="the first in name order"
        ),
    ] = ""
    max_versions_per_model: Annotated[
        Count, Option("Maximum number of versions served per model, the highest ones.", MODELS, "<count>")
    ] = 1
    load_timeout: Annotated[
        PositiveSeconds,
        Option("Maximum time to load, compile and warm up a bundle, in seconds.", MODELS, "<seconds>"),
    ] = 600.0
    poll_seconds: Annotated[
        float,
        Field(ge=0.05, le=86_400),
        Option("Interval at which --model-repository is scanned for changes, in seconds.", MODELS, "<seconds>"),
    ] = 10.0

    batch_sizes: Annotated[
        tuple[Count, ...],
        Field(min_length=1),
        Option(
            "Batch sizes that the network is compiled for, separated by commas; the largest is the maximum number of "
            "photos per batch.",
            INFERENCE,
            "<n,n,...>",
            advice="A larger maximum helps only a GPU, and makes each photo wait longer.",
        ),
    ] = (1, 2, 4, 8, 16, 32)
    engine: Annotated[
        Literal["auto", "jax", "openvino", "openvino-float32"],
        Option(
            "Engine that runs the network: jax, openvino (CPU; int8 inference if the bundle is calibrated for it), "
            "openvino-float32, or auto: jax on a GPU, otherwise openvino if it is installed.",
            INFERENCE,
        ),
    ] = "auto"
    engine_mode: Annotated[
        Literal["latency", "throughput"],
        Option(
            "Tuning of OpenVINO on a CPU: latency (all cores work on one batch) or throughput (one batch per core).",
            INFERENCE,
        ),
    ] = "latency"
    engine_threads: Annotated[
        int,
        Field(ge=0, le=1024),
        Option("Threads that OpenVINO computes with; 0 is one per core.", INFERENCE, "<count>"),
    ] = 0
    engine_cache: Annotated[
        Path | None,
        Option(
            "Folder for what JAX has compiled, so that the next start is fast. It must be writable by you alone: its "
            "content is executed.",
            INFERENCE,
            "<dir>",
            default="the user's cache",
            advice="Choose one that survives a restart. The variable `JAX_COMPILATION_CACHE_DIR` has precedence.",
        ),
    ] = None
    max_batches_in_flight: Annotated[
        int,
        Field(ge=0, le=64),
        Option(
            "Maximum number of batches in flight on the device. With 0, the number that the engine runs in parallel, "
            "plus one that is being prepared.",
            INFERENCE,
            "<count>",
        ),
    ] = 0
    max_delay_ms: Annotated[
        float,
        Field(ge=0, le=10_000),
        Option(
            "Maximum time that an idle device waits for a batch to fill, in milliseconds.",
            INFERENCE,
            "<ms>",
            advice="A few on a GPU with few callers, so that batches fill; 0 on a CPU, where larger batches help "
            "little.",
        ),
    ] = 0.0
    decode_threads: Annotated[
        Count,
        Option(
            "Threads that decode photos.",
            INFERENCE,
            "<count>",
            default="one per core",
            advice="Fewer if decoding takes cores away from the network.",
        ),
    ] = Field(default_factory=_cores)
    decode_timeout: Annotated[
        PositiveSeconds,
        Option(
            "Maximum time to decode a photo, in seconds.",
            INFERENCE,
            "<seconds>",
            advice="Photos take milliseconds, the most expensive ones that are accepted about a second.",
        ),
    ] = 10.0
    max_consecutive_failures: Annotated[
        Count,
        Option(
            "Maximum number of consecutive batches that fail before the device counts as failed.",
            INFERENCE,
            "<batches>",
        ),
    ] = 5
    inference_timeout: Annotated[
        PositiveSeconds,
        Option(
            "Maximum duration of a batch before the device counts as failed, in seconds.",
            INFERENCE,
            "<seconds>",
            advice="It must be longer than the slowest batch.",
        ),
    ] = 120.0

    max_photo_bytes: Annotated[PhotoBytes, Option("Maximum size of a photo file, in bytes.", LIMITS, "<bytes>")] = (
        16 * MIB
    )
    max_photo_pixels: Annotated[Count, Option("Maximum number of pixels of a photo.", LIMITS, "<pixels>")] = (
        DEFAULT_MAX_PIXELS
    )
    max_decoded_bytes: Annotated[
        Bytes,
        Option(
            "Maximum memory for the pixels of a PNG, WebP or progressive JPEG during decoding, in bytes. A baseline "
            "JPEG takes little.",
            LIMITS,
            "<bytes>",
            advice="Each of the decode threads can take that much, and a quarter more.",
        ),
    ] = DEFAULT_MAX_DECODED_BYTES
    max_batch_photos: Annotated[
        Count,
        Option("Maximum number of photos in a BatchClassify request or a message of a stream.", LIMITS, "<photos>"),
    ] = 64
    max_message_bytes: Annotated[
        PhotoBytes,
        Option(
            "Maximum size of a gRPC message, in bytes. It must be at least 1 KiB more than --max-photo-bytes.",
            LIMITS,
            "<bytes>",
        ),
    ] = 64 * MIB
    max_top_k: Annotated[
        int,
        Field(ge=0, le=INT32),
        Option("Maximum number of candidates that a request can ask for.", LIMITS, "<count>"),
    ] = 20
    max_streams: Annotated[Count, Option("Maximum number of open streams of all clients.", LIMITS, "<count>")] = 256
    max_streams_per_client: Annotated[
        Count, Option("Maximum number of open streams per client, of its open calls.", LIMITS, "<count>")
    ] = 64
    max_in_flight_per_stream: Annotated[
        Count,
        Option(
            "Maximum number of photos in flight per stream.",
            LIMITS,
            "<photos>",
            advice="Twice the largest of `--batch-sizes` keeps the device busy with a single stream.",
        ),
    ] = 64
    max_in_flight_per_stream_bytes: Annotated[
        Bytes,
        Option(
            "Maximum size of the photos in flight per stream, in bytes.",
            LIMITS,
            "<bytes>",
            advice="The last photo may exceed it, as its size is unknown until it is read.",
        ),
    ] = 64 * MIB
    max_concurrent_calls_per_client: Annotated[
        Count,
        Option(
            "Maximum number of open calls per client, streams included. A client is a token, or else an address.",
            LIMITS,
            "<calls>",
        ),
    ] = 256
    max_in_flight_photos: Annotated[
        Count,
        Option(
            "Maximum number of photos in flight, of all clients. At the limit, unary requests are rejected with "
            "QUEUE_FULL, and streams wait.",
            LIMITS,
            "<photos>",
        ),
    ] = 1024
    max_in_flight_bytes: Annotated[
        Bytes, Option("Maximum size of the photos in flight, of all clients, in bytes.", LIMITS, "<bytes>")
    ] = 512 * MIB
    max_queue_wait: Annotated[
        PositiveSeconds,
        Option(
            "Maximum estimated queueing delay of a photo in a unary request, in seconds; above it the photo is "
            "rejected with QUEUE_FULL.",
            LIMITS,
            "<seconds>",
            advice="It is not applied to the first `max_batch_photos` unary photos in flight; the caps and the "
            "deadline of the call still apply to them.",
        ),
    ] = 10.0

    max_memory_bytes: Annotated[
        Bytes,
        Option(
            "Maximum resident memory of the server, in bytes. Above it, calls of the client with the most unfinished "
            "uploads are ended.",
            LIMITS,
            "<bytes>",
            default="80 % of the machine's or container's memory",
            advice="A photo is counted by `max_in_flight_bytes` only once it has arrived; this limit also bounds what "
            "is still arriving.",
        ),
    ] = Field(default_factory=_memory_limit)
    idle_timeout: Annotated[
        PositiveSeconds,
        Option(
            "Maximum time for a request to arrive, for a stream to have no photo in flight, and for its client to read "
            "no response, in seconds. Idle streams get a drain notice.",
            LIMITS,
            "<seconds>",
        ),
    ] = 300.0
    max_stream_age: Annotated[
        Seconds,
        Option(
            "Time after which a stream gets a drain notice, so that long streams spread over new servers, in seconds; "
            "0 is off. Each stream has its own, up to 20 % shorter or longer.",
            LIMITS,
            "<seconds>",
            default="off",
            advice="Set it where servers are added and removed while streams are open: 3600, say.",
        ),
    ] = 0.0

    drain_seconds: Annotated[
        Seconds,
        Option(
            "Time for which a stopping server still accepts photos after it reports NOT_SERVING, so that load "
            "balancers can react, in seconds.",
            SHUTDOWN,
            "<seconds>",
        ),
    ] = 0.5
    grace_seconds: Annotated[
        Seconds,
        Option(
            "Total time that a stopping server gives photos in flight to finish, in seconds.", SHUTDOWN, "<seconds>"
        ),
    ] = 30.0

    @field_validator("max_message_bytes")
    @classmethod
    def _fits_largest_photo(cls, value: int, info: ValidationInfo) -> int:
        largest = info.data.get("max_photo_bytes")  # None if that is invalid itself
        if largest is not None and value < largest + ENVELOPE_BYTES:
            raise ValueError(
                f"the minimum is {largest + ENVELOPE_BYTES}: max_photo_bytes ({largest}) and {ENVELOPE_BYTES} bytes "
                "for the rest of the message"
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


def option_of(field: FieldInfo) -> Option:
    """Return how a setting is presented to users."""
    [option] = [annotation for annotation in field.metadata if isinstance(annotation, Option)]
    return option


def default_text(field: FieldInfo) -> str:
    """Return the default of a setting for people; "" if there is none."""
    if (text := option_of(field).default) is not None:
        return text
    match field.default:
        case None:
            return ""
        case bool(value):
            return "yes" if value else "no"
        case tuple(values):
            return ",".join(map(str, values))
        case int(value) if value >= MIB and value % MIB == 0:
            return f"{value // MIB} MiB"
        case float(value):
            return f"{value:g}"
    return str(field.default)


def value_type(field: FieldInfo) -> type:
    """Return the type of a setting's value on the command line: bool, int, float, str or Path."""
    annotation: Any = field.annotation
    if type(None) in get_args(annotation):
        [annotation] = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and get_origin(annotation) is None else str


def load_settings(config: Path | None = None, **options: object) -> Settings:
    """Merge the sources of settings: options before environment before file before defaults.

    Args:
        config: TOML file; its relative paths are relative to it.
        options: Values by setting; None stands for not given.

    Raises:
        SettingsError: A setting is unknown or invalid, or `config` cannot be read.
    """
    in_file = _read_config(config) if config else {}
    values = in_file | _read_environment() | {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        problem = first["msg"].removeprefix("Value error, ")
        in_config = f", or {name} in {config}" if config and name in in_file else ""
        raise SettingsError(
            f"{name} is invalid: {first['input']!r}, {problem[0].lower()}{problem[1:]}. Change "
            f"{option_name(name)}, {PREFIX}{name.upper()}{in_config}."
        ) from error


def option_name(name: str) -> str:
    """Return the option of `planespotter serve` for a setting."""
    return f"--{name.replace('_', '-')}"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"The settings file {path} cannot be read as TOML: {reason}. Correct it.") from error
    _reject_unknown(content, Settings.model_fields, f"key in the settings file {path}")
    for name, field in Settings.model_fields.items():
        if value_type(field) is Path and isinstance(content.get(name), str):
            content[name] = path.parent / content[name]
    return content


def _read_environment() -> dict[str, str]:
    """Return the values of settings in the environment."""
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):  # set by Kubernetes: see FOREIGN_VARIABLES
        del os.environ[f"{PREFIX}PORT"]
    variables = [name for name in os.environ if name.startswith(PREFIX) and not FOREIGN_VARIABLES.fullmatch(name)]
    _reject_unknown(variables, [PREFIX + name.upper() for name in Settings.model_fields], "environment variable")
    return {name.removeprefix(PREFIX).lower(): os.environ[name] for name in variables}


def _reject_unknown(names: Iterable[str], settings: Iterable[str], kind: str) -> None:
    known = {name.removeprefix(PREFIX): name for name in settings}  # a common prefix does not make names similar
    for name in names:
        if name not in known.values():
            close = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1)
            advice = f"Did you mean {known[close[0]]}?" if close else "`planespotter serve --help` lists all settings."
            raise SettingsError(f"Unknown {kind}: {name}. {advice}")
