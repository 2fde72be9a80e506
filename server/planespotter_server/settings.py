"""What an operator can set: by a flag of `planespotter serve`, or by a variable PLANESPOTTER_... of the environment."""

import os
from typing import Annotated

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
# What a message needs beside its photo: names, options, lengths.
ENVELOPE_BYTES = 1024
INT32 = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=INT32)]  # GetModel reports the limits as int32


class ServerError(Exception):
    """The server cannot start; the text says why and what to do."""


class Settings(BaseSettings):
    """Settings of the server. Sizes are in bytes and times in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="PLANESPOTTER_", frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0 takes any free port."""
    batch_sizes: Annotated[tuple[Count, ...], NoDecode, Field(min_length=1)] = (1, 2, 4, 8, 16, 32)
    """Numbers of photos for which the network is compiled; in the environment separated by commas."""
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """How long an idle device waits for a batch to fill."""
    decode_threads: Count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    max_photo_bytes: Count = 16 * MIB
    max_photo_pixels: Count = 40_000_000
    max_batch_photos: Count = 64
    max_message_bytes: Count = 64 * MIB
    """At least one photo of `max_photo_bytes` must fit."""
    max_alternatives: Annotated[int, Field(ge=0, le=INT32)] = 20
    stream_window: Count = 64
    """How many photos of one stream are worked on at a time. Twice the largest batch keeps the device busy: one batch
    runs while the next is decoded."""
    queue_photos: Count = 1024
    """How many photos of all callers are worked on at a time."""
    queue_bytes: Count = 512 * MIB
    grace_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long a stop waits for what is in work."""

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


def load_settings(**flags: object) -> Settings:
    """Return the settings: `flags` (None: not given) before the environment before the defaults. Raises ServerError."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        raise ServerError(
            f"The setting {name} (flag --{name.replace('_', '-')}, variable PLANESPOTTER_{name.upper()}) cannot be "
            f"{first['input']!r}: {message[0].lower()}{message[1:]}."
        ) from error
