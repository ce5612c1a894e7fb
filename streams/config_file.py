"""`syncmaster.yaml` and the environment to validated Settings; every problem is told with its line. The shapes: `settings.py`.

Later ones win: defaults, the file, the environment. Relative secret files are below the file's directory, so that a configuration
and its secrets move together; relative data directories are below the working directory, so that processes that share a file
need not share a disk. `python -m streams.config_file schema` prints the JSON Schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streams import config_yaml
from streams.config_explain import explain
from streams.config_lint import lint
from streams.config_problem import InvalidConfig, Problem, Source, dotted, sort
from streams.settings import Settings

FILE_VARIABLE = "SYNCMASTER_CONFIG"
DEFAULT_FILE = Path("syncmaster.yaml")
#: Any scalar of a section, e.g. `SYNCMASTER__GATEWAY__PORT`; and short names for the two addresses that everybody needs.
_PREFIX = "SYNCMASTER__"
_SHORT = {"SYNCMASTER_KAFKA_BOOTSTRAP": ("kafka", "bootstrap"), "SYNCMASTER_NATS_URL": ("nats", "url")}


def load_settings(path: Path | None, environ: Mapping[str, str], *, base_dir: Path | None = None) -> Settings:
    """The effective settings. Raises ConfigError with every error, one per line; warnings are for `syncmaster check`.

    `path` defaults to $SYNCMASTER_CONFIG, then `./syncmaster.yaml`. `base_dir`, below which relative secret files are, defaults
    to the file's own directory.
    """
    settings, source = read_settings(path, environ, base_dir=base_dir)
    wrong = [problem for problem in lint(settings, source) if problem.level == "error"]
    if wrong:
        raise InvalidConfig(wrong)
    return settings


def read_settings(path: Path | None, environ: Mapping[str, str], *, base_dir: Path | None = None) -> tuple[Settings, Source]:
    """Settings whose shapes and types are right, and where they came from. Raises ConfigError."""
    file = path or Path(environ.get(FILE_VARIABLE) or DEFAULT_FILE)
    document = config_yaml.read_document(_read_text(file), environ)
    source = Source(file, document, _override(document, environ), frozenset(environ))
    faults = [_fault_problem(source, fault) for fault in document.faults]
    settings, invalid = _validate(source, base_dir or file.absolute().parent)
    if settings is None or faults:
        told = {problem.path for problem in faults}
        raise InvalidConfig(sort(faults + [problem for problem in invalid if problem.path not in told]))
    return settings, source


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        mend = f"name another one, set {FILE_VARIABLE}, or begin with a copy of gateway/local/orbit.yaml"
        raise _unreadable(file, "there is no such file", mend) from exc
    except OSError as exc:
        raise _unreadable(file, f"cannot be read ({exc.strerror})", "make it a file that this user may read") from exc
    except UnicodeDecodeError as exc:
        raise _unreadable(file, f"is not UTF-8 text (byte {exc.start})", "save it as UTF-8") from exc


def _unreadable(file: Path, message: str, mend: str) -> InvalidConfig:
    return InvalidConfig([Problem(str(file), 0, 0, "error", "", message, mend)])


def _override(document: config_yaml.Document, environ: Mapping[str, str]) -> dict[config_yaml.Path, str]:
    """Put what the environment says into the data. Returns the paths it set, each with its variable."""
    found: dict[config_yaml.Path, str] = {}
    for variable in sorted(environ):
        path = _SHORT.get(variable) or _general(variable)
        if path is not None and _put(document.data, path, environ[variable]):
            found[path] = variable
    return found


def _general(variable: str) -> tuple[str, ...] | None:
    if not variable.startswith(_PREFIX):
        return None
    return tuple(part.lower() for part in variable.removeprefix(_PREFIX).split("__"))


def _put(target: Any, path: tuple[str, ...], value: str) -> bool:
    """False where a section is something else than a mapping, which validation tells."""
    for part in path[:-1]:
        if not isinstance(target, dict):
            return False
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
    if not isinstance(target, dict):
        return False
    target[path[-1]] = value
    return True


def _validate(source: Source, secrets_base: Path) -> tuple[Settings | None, list[Problem]]:
    data = source.document.data
    if not isinstance(data, dict):
        mend = "write `key: value` lines, beginning with `cluster: <name>`"
        return None, [] if source.document.faults else [source.problem((), "the file holds no settings", mend)]
    try:
        return Settings.model_validate(data, context={"secrets_base": secrets_base}), []
    except ValidationError as exc:
        found = (explain(error, data) for error in exc.errors(include_url=False, include_input=False))
        return None, [source.problem(path, message, mend) for path, message, mend in found]


def _fault_problem(source: Source, fault: config_yaml.Fault) -> Problem:
    return Problem(str(source.file), *fault.position, "error", dotted(fault.path), fault.message, fault.mend)


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors and other tools. docs/syncmaster.schema.json is its published copy."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    return {**made, "title": "syncmaster.yaml"}


if __name__ == "__main__":
    if sys.argv[1:] != ["schema"]:
        sys.exit("usage: python -m streams.config_file schema > docs/syncmaster.schema.json")
    sys.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
