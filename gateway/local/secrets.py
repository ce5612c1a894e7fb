"""Random secrets of a local run, kept as files that only this user can read, so that a second run uses the same ones."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from streams.settings import SecretRef

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


class Secrets:
    """A directory of secrets, one file each (mode 0600, the directory 0700). A name's secret is made when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)

    def get(self, name: str) -> str:
        """The secret: 256 random bits, URL-safe."""
        return self.path(name).read_text()

    def ref(self, name: str) -> SecretRef:
        """The secret as the settings refer to it."""
        return SecretRef(file=self.path(name))

    def path(self, name: str) -> Path:
        """The file that holds it, which exists afterwards."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a secret")
        path = self._directory / name
        if not path.exists():
            _create(path, secrets.token_urlsafe(32))
        return path


def _create(path: Path, secret: str) -> None:
    # Linking makes the name appear with its whole content, and keeps the secret of whoever came first.
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(secret)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
