"""The sections of the configuration: each setting's type, default, unit and bounds.

`config.py` reads them from file, environment and flags, and puts them together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from syncengine.qomon.address import DEFAULT_URL, read_base_url, read_proxy


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with a ~ that names no home directory") from None


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_at_home), BeforeValidator(_not_empty)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """What all sections share: unknown keys are errors, types are exact, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_strip_whitespace=True
    )


class FieldRule(Section):
    """Where one Qomon field comes from. Exactly one of `column` and `constant`.

    `format`: strptime format of a date. `split`: separator of a list. `values`: source value -> Qomon value;
    `other`: what to do with a value missing from it. `blank`: what an empty cell means.
    """

    column: str | None = Field(default=None, min_length=1)
    constant: str | None = None
    format: str | None = None
    split: str | None = Field(default=None, min_length=1)
    values: dict[str, str] | None = None
    other: Literal["refuse", "skip"] = "refuse"
    blank: Literal["skip", "clear"] = "skip"

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=False)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either column or constant")
        if self.constant is not None and (self.format or self.split or self.values):
            raise ValueError("format, split and values go with column, not with constant")
        if self.other == "skip" and self.values is None:
            raise ValueError('other = "skip" goes with values')
        return self


class StateSettings(Section):
    """`[state]`: the one file that remembers everything."""

    path: FilePath = Path("state.db")


class SourceSettings(Section):
    """`[source]`: the organisation's own list."""

    path: FilePath
    key: str = Field(min_length=1)
    snapshot: bool = False
    format: Literal["csv", "tsv", "jsonl"] | None = None
    delimiter: Annotated[str, StringConstraints(strip_whitespace=False)] | None = None
    encoding: str | None = None

    @field_validator("delimiter", mode="before")
    @classmethod
    def _one_character(cls, value: object) -> object:
        if value == "\\t":
            return "\t"
        if isinstance(value, str) and (len(value) != 1 or value in '"\r\n\0'):
            raise ValueError('must be one character, such as ";" or "\\t"')
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "".encode(value)
            except (LookupError, ValueError):
                raise ValueError("must be an encoding, such as utf-8, cp1252 or utf-16") from None
        return value


class DestinationSettings(Section):
    """`[destination]`: the Qomon space. `rate` in tokens per second, `burst` in tokens."""

    base_url: str = DEFAULT_URL
    api_key_env: str = Field(default="QOMON_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api_key_file: FilePath | None = None
    rate: float = Field(default=10.0, gt=0, le=100_000)
    burst: float = Field(default=100.0, ge=1, le=1_000_000)
    share: Share = 1.0
    proxy: str = ""

    @field_validator("base_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return read_base_url(value)

    @field_validator("proxy")
    @classmethod
    def _usable_proxy(cls, value: str, others: ValidationInfo) -> str:
        return read_proxy(value, others.data["base_url"]) if value and "base_url" in others.data else value


class RunSettings(Section):
    """`[run]`: how far and how fast. Durations in seconds, shares between 0 and 1."""

    in_flight: int = Field(default=16, ge=1, le=1024)
    max_writes: int = Field(default=0, ge=0)
    max_failed_share: Share = 0.2
    max_changed_share: Share = 0.5
    until: str = Field(default="", pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d$")
    timeout: float = Field(default=30.0, gt=0, le=600)
    settle: float = Field(default=30.0, ge=0, le=3600)
    send: Literal["changed", "whole"] = "changed"


class IdentitySettings(Section):
    """`[identity]`: what happens to contacts that are hard to match. Hold, unless told otherwise."""

    none: Literal["hold", "send", "create"] = "hold"
    mail_only: Literal["hold", "send"] = "hold"
    names_only: Literal["hold", "send"] = "hold"
    collisions: Literal["hold", "first", "create"] = "hold"
    existing: Literal["adopt", "match"] = "adopt"


class VerifySettings(Section):
    """`[verify]`: reading back what was accepted. `deadline`: seconds after acceptance."""

    deadline: float = Field(default=120.0, gt=0, le=3600)
    ignore: list[str] = Field(default_factory=list)
