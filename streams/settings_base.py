"""What every part of the configuration is made of: the frozen model, names, patterns, references to secrets. Shapes: `settings*.py`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from streams.errors import ConfigError

#: Names of clusters, principals, components, routes: they become parts of subjects, topics and stream names.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")]
#: Glob patterns as in RBAC rules: `*` matches any run of characters, all else is literal. `chart/*`, `dev.cdevents.artifact.*`.
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def wrong(path: tuple[str | int, ...], message: str, mend: str) -> PydanticCustomError:
    """A relation between settings that does not hold; `path` leads from the validated model to the one to change."""
    return PydanticCustomError("relation", "{at}: {message}; {mend}", {"at": path, "message": message, "mend": mend})


class SecretRef(Model):
    """Where a secret is: exactly one of an environment variable's name or a file's path."""

    env: str | None = None
    file: Path | None = None

    @field_validator("file")
    @classmethod
    def _beside_the_configuration(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """A relative file is below the directory that the loader names; without a loader, below the working directory."""
        base = (info.context or {}).get("secrets_base")
        return value if value is None or base is None else Path(base) / value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of `env` or `file`")
        return self

    def reveal(self) -> str:
        """The secret itself. Raises ConfigError, which names the place and never the value."""
        if self.env is not None:
            if self.env not in os.environ:
                raise ConfigError(f"the environment variable {self.env} is not set; set it to the secret it stands for")
            return os.environ[self.env]
        assert self.file is not None
        try:
            return self.file.read_text().strip()
        except OSError as exc:
            raise ConfigError(
                f"cannot read the secret file {self.file} ({exc.strerror}); create it, readable by this user"
            ) from exc

    def hidden_in(self, text: bytes) -> bytes:
        """The text with `***` for the secret: answers of those whom we sent it to may repeat it."""
        secret = self.reveal().encode()
        return text.replace(secret, b"***") if secret else text


def glob(pattern: str) -> re.Pattern[str]:
    """`*` matches any run of characters (slashes too), all else is literal.

    Each literal between stars is sought from the left once and never again (an atomic group): taking the first place leaves most for the
    rest, so no pattern can explode. `*a*a*a*b` against a thousand letters costs what reading them costs.
    """
    first, *middle = (re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*"))
    if not middle:
        return re.compile(first)
    *middle, last = middle
    return re.compile("".join([first, *(f"(?>.*?{part})" for part in middle), ".*", last]), re.DOTALL)
