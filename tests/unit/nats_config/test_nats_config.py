"""The text of the nats-server's configuration. That the server understands and enforces it: tests/attack/test_nats_door.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nkeys
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.nats_config.credentials import Credentials, from_environment, revealed
from gateway.nats_config.rights import users
from gateway.nats_config.server import nats_config
from streams.errors import ConfigError
from streams.settings import SecretRef, Settings
from tests.brokers import orbit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return orbit(tmp_path, limits={"nats_payload_bytes_max": 777_777})


def all_known(settings: Settings, password: str = "x") -> Credentials:
    return Credentials(dict.fromkeys(users(settings), password))


def text_of(settings: Settings) -> str:
    return nats_config(settings, all_known(settings))


def nkey() -> tuple[str, str]:
    """Public half and seed."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return nkeys.from_seed(bytearray(seed)).public_key.decode(), bytes(seed).decode()


def changed(settings: Settings, name: str, **changes: Any) -> Settings:
    principal = settings.principals[name].model_copy(update=changes)
    return settings.model_copy(update={"principals": settings.principals | {name: principal}})


def with_tls(settings: Settings, tmp_path: Path, **more: Any) -> Settings:
    files = {"cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
    tls = {"ca": tmp_path / "ca.pem", "server": files} | dict.fromkeys(("bridge", "gateway", "worker"), files) | more
    content = settings.model_dump()
    return Settings.model_validate(content | {"nats": content["nats"] | {"tls": tls}})


def test_an_acknowledgement_means_on_disk(settings: Settings) -> None:
    """The server syncs before it acknowledges, and carries messages up to the settings' limit."""
    text = text_of(settings)
    assert 'sync_interval: "always"' in text
    assert "max_payload: 777777" in text


def test_everybody_has_credentials(settings: Settings) -> None:
    """SyncMaster's three and every principal; who has none is an error with the mend, never an open door."""
    names = {"syncmaster-bridge", "syncmaster-gateway", "syncmaster-worker", "c4", "c8", "c12", "c20", "c24", "c28", "operator"}
    assert set(users(settings)) == names
    with pytest.raises(ConfigError, match="c4 has no credentials; give it a password or an nkey"):
        nats_config(settings, Credentials(dict.fromkeys(names - {"c4"}, "x")))


def test_a_principal_publishes_under_its_own_name_only(settings: Settings) -> None:
    """Only the gateway may publish for others; the bridge and the worker not even for themselves."""
    ingress = {user: [s for s in rights.publish if s.startswith("sm.in") or s == ">"] for user, rights in users(settings).items()}
    own = {"syncmaster-bridge": [], "syncmaster-gateway": ["sm.in.>"], "syncmaster-worker": []}
    assert ingress == {name: [f"sm.in.{name}.>"] for name in settings.principals} | own


def test_refused_logins_are_heard_by_the_gateway_alone(settings: Settings) -> None:
    """Of the system account SyncMaster's has this one subject, nobody logs in to it, and of our users one may subscribe."""
    text = text_of(settings)
    system = text[text.index('\n  "$SYS": {') : text.index("\n  c4: {")]
    assert (system.count("stream:"), 'accounts: ["SYNCMASTER"]' in system, "users" in system) == (1, True, False)
    assert text.count('account: "$SYS"') == 1
    hearers = [
        user for user, rights in users(settings).items() if any(s.startswith(("sm.auth", "$SYS")) for s in rights.subscribe)
    ]
    assert hearers == ["syncmaster-gateway"]


def test_a_principal_without_credentials_for_nats_cannot_connect(settings: Settings) -> None:
    """Such a principal uses the gateway only."""
    assert "c8" not in users(changed(settings, "c8", nats_password=None))


def test_a_principal_cannot_take_the_name_of_ours(settings: Settings) -> None:
    """Otherwise its rights would replace those of the bridge."""
    ours = settings.model_copy(update={"principals": {"syncmaster-bridge": settings.principals["c4"]}})
    with pytest.raises(ConfigError, match="must have different names"):
        text_of(ours)


def test_a_committed_configuration_has_no_secrets(settings: Settings) -> None:
    """References are the server's variables, unquoted; a password is a string in which nothing is a variable."""
    text = nats_config(settings, from_environment(settings))
    assert "password: $SM_NATS_C4\n" in text
    assert not any(password in text for password in revealed(settings).passwords.values() if isinstance(password, str))
    assert 'password: "p$a\\"ss"\n' in nats_config(settings, all_known(settings, 'p$a"ss'))


def test_monitoring_is_there_only_when_asked_for(settings: Settings) -> None:
    """It shows who is connected and is not authenticated."""
    assert "http:" not in text_of(settings)
    assert 'http: "127.0.0.1:8222"' in nats_config(settings, all_known(settings), http_port=8222)


def test_every_nkey_of_a_principal_is_a_user_with_its_rights(settings: Settings) -> None:
    """Two at once, beside the password, so that neither has to be changed at one stroke."""
    first, second = nkey()[0], nkey()[0]
    text = text_of(changed(settings, "c4", nats_nkeys=(first, second)))
    account = text[text.index("\n  c4: {") : text.index("\n  c8: {")]
    assert all(f'nkey: "{public}"' in account for public in (first, second))
    assert account.count('allow: ["sm.in.c4.>"]') == 3


def test_our_own_users_may_have_nkeys(settings: Settings, tmp_path: Path) -> None:
    """The public half is written, never the seed; in a committed file it is a reference."""
    public, seed = nkey()
    (tmp_path / "seed").write_text(seed)
    nats = settings.nats.model_copy(update={"bridge_password": None, "bridge_seed": SecretRef(file=tmp_path / "seed")})
    ours = settings.model_copy(update={"nats": nats})
    text = nats_config(ours, revealed(ours))
    assert (f'nkey: "{public}"' in text, seed in text, 'user: "syncmaster-bridge"' in text) == (True, False, False)
    assert "nkey: $SM_NATS_SYNCMASTER_BRIDGE\n" in nats_config(ours, from_environment(ours))


def test_a_seed_that_is_none(settings: Settings, tmp_path: Path) -> None:
    """It is told without being shown."""
    (tmp_path / "seed").write_text("hunter2")
    nats = settings.nats.model_copy(update={"bridge_password": None, "bridge_seed": SecretRef(file=tmp_path / "seed")})
    with pytest.raises(ConfigError, match="the seed of the NATS user syncmaster-bridge is none") as refused:
        revealed(settings.model_copy(update={"nats": nats}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "U", "SUAM", "A" * 56, "U" + "A" * 55])
def test_an_nkey_that_is_none(text: str) -> None:
    """A mistyped key is found by its checksum, when the configuration is loaded."""
    with pytest.raises(ValueError, match="is no public nkey"):
        Settings.model_validate({"cluster": "test", "principals": {"c4": {"nats_nkeys": [text]}}})


def test_an_nkey_with_two_holders(settings: Settings) -> None:
    """The server could not tell them apart."""
    public, _ = nkey()
    both = changed(changed(settings, "c4", nats_nkeys=(public,)), "c8", nats_nkeys=(public,))
    with pytest.raises(ConfigError, match="give each its own"):
        text_of(both)


def test_tls_without_certificates_of_clients(settings: Settings, tmp_path: Path) -> None:
    """The server shows a certificate and asks for none; passwords go on."""
    text = text_of(with_tls(settings, tmp_path))
    assert f'cert_file: "{tmp_path}/cert.pem"' in text
    assert 'handshake_first: "auto"' in text
    assert ("verify" in text, 'password: "x"' in text) == (False, True)


def certified(settings: Settings, tmp_path: Path, **tls: Any) -> Settings:
    """Everybody has a certificate."""
    for name in settings.principals:
        settings = changed(settings, name, nats_certificates=(f"CN={name},O=Orbit",))
    passwords = {f"{who}_password": None for who in ("bridge", "gateway", "worker") if who not in tls}
    settings = settings.model_copy(update={"nats": settings.nats.model_copy(update=passwords)})
    return with_tls(settings, tmp_path, **tls)


def test_certificates_are_mapped_and_passwords_gone(settings: Settings, tmp_path: Path) -> None:
    """A user without a password is written only where the server takes users from certificates."""
    text = text_of(certified(settings, tmp_path))
    assert "verify_and_map: true" in text
    assert ('user: "CN=c4,O=Orbit"' in text, 'user: "syncmaster-gateway"' in text, "password" in text) == (True, True, False)


def test_a_certificate_and_a_password_are_one_too_many(settings: Settings, tmp_path: Path) -> None:
    """nats-server refuses a login that shows a certificate, if those are mapped to users, and sends a password as well."""
    mapped = changed(settings, "c4", nats_certificates=("CN=c4,O=Orbit",))
    with pytest.raises(ValidationError, match=r"nats.tls.bridge says who it is.*keep one of the two"):
        with_tls(mapped, tmp_path)


def test_a_certificate_locks_out_who_has_a_password_only(settings: Settings, tmp_path: Path) -> None:
    """nats-server would not look at it: that is told before, with the mend."""
    with pytest.raises(ConfigError, match="looks at no password, and the NATS user c8 has nothing else; give it an nkey"):
        text_of(changed(certified(settings, tmp_path), "c8", nats_certificates=()))
    with pytest.raises(ConfigError, match="the NATS user syncmaster-worker has nothing else"):
        text_of(certified(settings, tmp_path, worker=None))


def test_certificates_need_tls(settings: Settings) -> None:
    """Without it nobody could show one."""
    with pytest.raises(ConfigError, match=r"nats\.tls\.server"):
        text_of(changed(settings, "c4", nats_certificates=("CN=c4",)))


def test_a_certificate_cannot_be_that_of_ours(settings: Settings, tmp_path: Path) -> None:
    """A principal whose certificate is called as the gateway would be the gateway."""
    taken = changed(certified(settings, tmp_path), "c4", nats_certificates=("syncmaster-gateway",))
    with pytest.raises(ConfigError, match="stands for c4 and for SyncMaster itself"):
        text_of(taken)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("bridge", "gateway", "worker", "c4"):
        (tmp_path / name).write_text(f"the-password-of-{name}")
    passwords = ", ".join(f"{name}_password: {{file: {name}}}" for name in ("bridge", "gateway", "worker"))
    path = tmp_path / "syncmaster.yaml"
    path.write_text(f"cluster: here\nnats: {{{passwords}}}\nprincipals: {{c4: {{nats_password: {{file: c4}}}}}}\n")
    return path


def test_the_command_prints_or_writes(file: Path, tmp_path: Path) -> None:
    """To stdout, or to a file that only this user may read; with --env nothing in it is a secret."""
    printed = CliRunner().invoke(app, ["nats-config", str(file), "--listen", "0.0.0.0:4333", "--env"])
    assert (printed.exit_code, 'listen: "0.0.0.0:4333"' in printed.stdout, "the-password" in printed.stdout) == (0, True, False)
    written = CliRunner().invoke(app, ["nats-config", str(file), "--output", str(tmp_path / "nats.conf")])
    text = (tmp_path / "nats.conf").read_text()
    assert (written.exit_code, written.stdout, "the-password-of-c4" in text) == (0, "", True)
    assert (tmp_path / "nats.conf").stat().st_mode & 0o777 == 0o600


def test_the_command_tells_who_is_missing(file: Path, tmp_path: Path) -> None:
    """A secret that is not there is one sentence and exit code 1."""
    (tmp_path / "c4").unlink()
    told = CliRunner().invoke(app, ["nats-config", str(file)])
    assert (told.exit_code, "cannot read the secret file" in told.stderr) == (1, True)
