"""Who may ask, what a stranger learns, and what a read-only token is good for."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import forking
import pytest
from asking import READ, WRITE, Document, until
from cases import for_each
from checking_client import Client
from on_disk import OnDisk
from server_process import Server, environment
from small_networks import SMALL, pixels

from falcon_mnist.api.auth import LOOK_SECONDS, Holder, Tokens
from falcon_mnist.api.token_rules import check_address, weaknesses
from falcon_mnist.clock import Clock
from falcon_mnist.settings import Settings, SettingsError
from falcon_mnist.storage.disk import Disk

PATHS = [
    ("POST", "/api/models"),
    ("POST", "/api/models/m_0/train"),
    ("GET", "/api/models/m_0/runs"),
    ("GET", "/api/runs/r_0"),
    ("POST", "/api/runs/r_0/cancel"),
    ("GET", "/api/params/p_0"),
    ("POST", "/api/infer"),
    ("POST", "/api/infer_adhoc"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api"),
    ("GET", "/api/"),
    ("GET", "/%61pi/models"),
]


@for_each("method, path", PATHS)
def test_every_path_under_api_needs_a_token(client: Client, method: str, path: str) -> None:
    response = client.request(method, path, token=None)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@for_each("authorization", ["", "Bearer", "Basic dXNlcjpwYXNz", "bearer", "Digest username=x"])
def test_without_a_bearer_token_the_challenge_names_no_error(client: Client, authorization: str) -> None:
    response = client.get("/api/runs/r_0", token=None, headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@for_each("token", ["wrong", WRITE[:-1], WRITE + "x", WRITE.upper(), f"{WRITE} {WRITE}", "é", "\udcff", "x" * 8000])
def test_a_wrong_token_is_told_so(client: Client, token: str) -> None:
    authorization = b"Bearer " + token.encode("utf-8", "surrogateescape")
    response = client.request("GET", "/api/runs/r_0", token=None, headers={b"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(client: Client, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {WRITE}"}
    assert client.get("/api/openapi.json", token=None, headers=headers).status_code == 200


@pytest.mark.parametrize(("path", "state"), [("/healthz", "live"), ("/readyz", "ready")])
def test_health_needs_no_token_and_tells_only_its_state(client: Client, path: str, state: str) -> None:
    for token in (None, "wrong", WRITE):
        response = client.get(path, token=token)
        assert response.status_code == 200
        assert response.json() == {"status": state}


def test_a_read_only_token_may_look_and_infer(client: Client, trained: Document) -> None:
    reader = {"token": READ}
    assert client.get(f"/api/runs/{trained['run_id']}", **reader).status_code == 200
    assert client.get(f"/api/models/{trained['model_id']}/runs", **reader).status_code == 200
    parameters = client.get(f"/api/params/{trained['param_id']}", **reader).json()["parameters"]
    rows = pixels(1).tolist()
    assert client.post("/api/infer", {"param_id": trained["param_id"], "inputs": rows}, **reader).status_code == 200
    architecture = SMALL | {"layers": [*SMALL["layers"], {"type": "softmax"}]}
    body = {"architecture": architecture, "parameters": parameters, "inputs": rows}
    assert client.post("/api/infer_adhoc", body, **reader).status_code == 200
    assert client.get("/api/openapi.json", **reader).status_code == 200


def test_a_read_only_token_may_not_write(client: Client, on_disk: OnDisk, trained: Document) -> None:
    with on_disk.unchanged():
        for path, body in (
            ("/api/models", {"architecture": SMALL}),
            (f"/api/models/{trained['model_id']}/train", {}),
            (f"/api/runs/{trained['run_id']}/cancel", {}),
        ):
            response = client.post(path, body, token=READ)
            assert response.status_code == 403
            assert "WWW-Authenticate" not in response.headers


def test_a_replaced_file_of_tokens_is_read_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{WRITE}\n")
    server = serve(tokens=None, tokens_file=tokens)
    with Client(server.url()) as client:

        def looked() -> int:
            """How often the file was found to be another one; a request makes the server look."""
            client.request("GET", "/api/openapi.json", token="nobody's")
            return server.log().count("tokens were read again") + server.log().count("replaced file of tokens cannot")

        def replace(text: str | None) -> None:
            before = looked()
            if text is None:
                tokens.unlink()
            else:
                new = tmp_path / "new"
                new.write_text(text)
                new.replace(tokens)
            until(lambda: looked() > before, "the file was looked at")

        def status(token: str, method: str = "GET", path: str = "/api/openapi.json") -> int:
            return client.request(method, path, token=token).status_code

        replace("# the second\ntoken-two-4d1e\ntoken-three-4d1e read\n")
        assert status("token-two-4d1e") == 200
        assert status("token-three-4d1e") == 200
        assert status("token-three-4d1e", "POST", "/api/models") == 403
        assert status(WRITE) == 401
        # A file that cannot be used leaves the tokens in force that were.
        for unusable in ("", "# nobody\n", "token-four-4d1e write\n", "fünfte\n"):
            replace(unusable)
            assert status("token-two-4d1e") == 200
            assert status("token-four-4d1e") == 401
        replace(None)
        assert status("token-two-4d1e") == 200
        replace(f"{WRITE}\n")
        assert status(WRITE) == 200
        assert status("token-two-4d1e") == 401
    assert server.stop() == 0
    assert not any(secret in server.log() for secret in ("token-two-4d1e", "token-three-4d1e", "token-four-4d1e"))


def test_no_token_is_logged(client: Client, trained: Document, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get(f"/api/runs/{trained['run_id']}")
        client.get(f"/api/runs/{trained['run_id']}", token="a-wrong-one")
        client.post("/api/models", {"architecture": SMALL}, token=READ)
    assert not any(secret in caplog.text for secret in (WRITE, READ, "a-wrong-one"))


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    first = Tokens(settings)
    token = settings.made_token.read_text().strip()
    assert len(token) >= 32
    assert stat.S_IMODE(settings.made_token.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert first.holder(token) == Tokens(settings).holder(token) == Holder("write", "line 1")
    assert settings.made_token.read_text().strip() == token
    assert os.listdir(settings.home) == ["token"]


def test_a_made_token_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    synced: list[list[str]] = []

    class RecordingDisk(Disk):
        def sync(self, file: BinaryIO) -> None:
            super().sync(file)
            assert Path(file.name).read_text().strip()
            synced.append(os.listdir(settings.home))

        def sync_folder(self, path: Path) -> None:
            super().sync_folder(path)
            if path == settings.home:
                synced.append(os.listdir(settings.home))

    Tokens(settings, disk=RecordingDisk())
    written, named = synced
    assert "token" not in written
    assert "token" in named


@pytest.mark.parametrize(
    "content", [b"", b"# nobody\n", b"one two\n", b"one read write\n", b"\xff\n", b"read\n", b"a-good-token\nread\n"]
)
def test_a_file_of_tokens_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, content: bytes) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^the tokens in .* cannot be used: "):
        Tokens(Settings(home=tmp_path, tokens_file=tokens))
    with pytest.raises(SettingsError, match="No such file"):
        Tokens(Settings(home=tmp_path, tokens_file=tmp_path / "none"))


def test_no_setting_shows_its_tokens(tmp_path: Path) -> None:
    assert WRITE not in repr(Settings(home=tmp_path, tokens=(WRITE,)))


@for_each("host, alone", [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("LOCALHOST", True), ("0.0.0.0", False), ("::", False), ("*", False), ("", False), ("192.0.2.1", False),
        ("example.org", False), ("localhost.example.org", False),
    ])  # fmt: skip
def test_weak_tokens_are_a_warning_on_loopback_and_refused_elsewhere_unless_allowed(host: str, alone: bool) -> None:
    weak = weaknesses(["0123456789abcde"])
    assert "fewer than 16" in weak[0]
    if alone:
        [sentence] = check_address(host, weak)
        assert "--allow-weak-tokens" in sentence
        assert check_address(host, []) == []
        return
    with pytest.raises(SettingsError, match="--allow-weak-tokens") as caught:
        check_address(host, weak)
    assert "\n" not in str(caught.value)
    assert "in the clear" in check_address(host, weak, allow_weak=True)[-1]
    assert ["in the clear" in sentence for sentence in check_address(host, [])] == [True]


def test_the_file_of_tokens_is_looked_at_again_after_a_while(tmp_path: Path) -> None:
    file, now = tmp_path / "tokens", 100.0
    file.write_text(f"{WRITE}\n")
    tokens = Tokens(Settings(home=tmp_path, tokens_file=file), clock=Clock(monotonic=lambda: now))
    assert tokens.holder(WRITE)
    file.write_text("another-token-of-nobody\n")
    assert tokens.holder(WRITE)
    now += LOOK_SECONDS
    assert not tokens.holder(WRITE)


def test_what_replaces_the_file_of_tokens_and_is_none_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe has no end while somebody holds it, and some devices have none at all."""
    file, now = tmp_path / "tokens", 100.0
    file.write_text(f"{WRITE}\n")
    tokens = Tokens(Settings(home=tmp_path, tokens_file=file), clock=Clock(monotonic=lambda: now))
    file.unlink()
    file.symlink_to("/dev/null")
    now += LOOK_SECONDS
    assert tokens.holder(WRITE)
    assert "the old ones stay: it is not a regular file" in caplog.text


@pytest.mark.parametrize(("mode", "weak"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_of_tokens_that_others_may_read_is_weak(
    tmp_path: Path, mode: int, weak: bool, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{WRITE}\n")
    file.chmod(mode)
    tokens = Tokens(Settings(home=tmp_path, tokens_file=file))
    assert bool(tokens.weaknesses) == weak == ("chmod 600" in caplog.text)
    assert WRITE not in caplog.text


def test_long_tokens_in_a_private_file_have_no_weakness(tmp_path: Path) -> None:
    assert Tokens(Settings(home=tmp_path)).weaknesses == []
    assert Tokens(Settings(home=tmp_path, tokens=("0123456789abcdef",))).weaknesses == []
    assert Tokens(Settings(home=tmp_path, tokens=("short", WRITE, "other"))).weaknesses[0].startswith("2 of")


def test_serve_refuses_weak_tokens_on_other_addresses_in_one_sentence(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path / "home", tokens="short", dataset=digits)
    command = ("serve", "--host", "192.0.2.1", "--port", 0)  # no address of ours
    refused = forking.run(*command, env=variables, timeout=60)
    assert refused.returncode != 0
    assert "--allow-weak-tokens" in refused.stderr
    assert "Traceback" not in refused.stderr
    allowed = forking.run(*command, "--allow-weak-tokens", env=variables, timeout=60)
    assert "cannot listen at 192.0.2.1" in allowed.stderr


def test_serve_warns_of_weak_tokens_on_loopback(serve: Callable[..., Server]) -> None:
    server = serve(tokens="short")
    server.url()
    until(lambda: "Warning: 1 of the tokens" in server.output(), "the warning is printed")
