"""A home is for its owner alone, whatever the umask and whatever was there before; looking changes nothing."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon_mnist.cli.doctor import Finding, examine
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import REQUEST_WAIT, open_home, open_store
from falcon_mnist.storage.private import NotPrivateError, make_private, obstacle, tighten

NOBODY = 65534


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "deep" / "home", tokens=("a-token-of-some-length",), dataset="synthetic")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def start(settings: Settings) -> dict[str, int]:
    """The modes of all that a first start makes, while the database is open."""
    open_home(settings)
    store = open_store(settings, wait=REQUEST_WAIT)
    store.create_model({}, {})
    found = modes(settings.home)
    store.close()
    return found


def findings(settings: Settings, subject: str) -> list[Finding]:
    return [each for each in examine(settings, progress=lambda *_: None) if each.subject == subject]


PRIVATE = {
    "home": 0o700,
    "falcon-mnist.db": 0o600,
    "falcon-mnist.db-wal": 0o600,
    "falcon-mnist.db-shm": 0o600,
}


@pytest.mark.usefixtures("umask")
def test_a_first_start_makes_nothing_that_others_may_open(settings: Settings) -> None:
    assert start(settings) == PRIVATE
    assert stat.S_IMODE(settings.home.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("umask")
def test_what_was_open_to_others_is_closed_at_the_next_start(settings: Settings) -> None:
    start(settings)
    other = open_store(settings, wait=REQUEST_WAIT)  # another server: the files stay
    other.create_model({}, {})
    for path in (settings.home, *settings.home.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert start(settings) == PRIVATE
    other.close()


def test_a_database_outside_of_the_home_is_private_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", database_url=tmp_path / "elsewhere" / "rows.db")
    store = open_store(settings, wait=REQUEST_WAIT)
    store.create_model({}, {})
    assert modes(tmp_path / "elsewhere") == {
        "elsewhere": 0o700, "rows.db": 0o600, "rows.db-wal": 0o600, "rows.db-shm": 0o600,
    }  # fmt: skip
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_an_open_home_of_another_user_is_refused_in_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    child = os.fork()
    if child == 0:
        try:
            os.setuid(NOBODY)
            tighten(home)
        except NotPrivateError as error:
            os._exit(0 if str(home) in str(error) and "\n" not in str(error) else 2)
        except PermissionError:
            os._exit(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tighten(home)  # its owner may
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_cannot_be_made_or_used_is_told_by_what_is_in_the_way(tmp_path: Path) -> None:
    assert obstacle(tmp_path / "not" / "yet") == ""
    with tempfile.TemporaryDirectory() as reachable:
        os.chmod(reachable, 0o755)
        Path(reachable, "closed", "storage").mkdir(parents=True)
        Path(reachable, "closed").chmod(0o700)
        Path(reachable, "unlisted").mkdir()
        Path(reachable, "unlisted").chmod(0o733)
        said = {
            "not/yet": f"{reachable} cannot be written",
            "closed/storage": f"{reachable}/closed cannot be written",
            "unlisted/storage": "",
            "unlisted": f"{reachable}/unlisted cannot be written",  # nor can what is in it be listed
        }
        child = os.fork()
        if child == 0:
            os.setuid(NOBODY)
            os._exit({name: obstacle(Path(reachable, name)) for name in said} != said)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_make_private_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b")
    assert modes(tmp_path / "a") == {"a": 0o700, "b": 0o700}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


# Doctor


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Times and contents; of `-shm`, where readers of a database note themselves, that it is there."""
    return {
        str(path): (path.stat().st_mtime_ns, b"" if path.is_dir() or path.suffix == ".db-shm" else path.read_bytes())
        for path in folder.rglob("*")
    }


def test_doctor_makes_nothing_where_nothing_is(settings: Settings, tmp_path: Path) -> None:
    found = list(examine(settings, progress=lambda *_: None))
    assert not [each for each in found if each.advice and each.subject != "free space"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_use", [False, True])
def test_doctor_changes_nothing_where_something_is(settings: Settings, in_use: bool) -> None:
    start(settings)
    store = open_store(settings, wait=REQUEST_WAIT)
    if in_use:
        store.create_model({}, {})
    else:
        store.close()
    before = everything(settings.home)
    assert [each.advice for each in findings(settings, "database")] == [""]
    assert everything(settings.home) == before
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_doctor_goes_on_where_the_home_may_not_be_entered() -> None:
    with tempfile.TemporaryDirectory() as home:  # which is root's alone
        child = os.fork()
        if child == 0:
            faults: list[str] = []
            try:
                os.setuid(NOBODY)
                found = examine(Settings(home=Path(home), dataset="synthetic"), progress=lambda *_: None)
                faults = [each.subject for each in found if each.advice and each.subject != "free space"]
            finally:
                os._exit(faults != ["home", "storage", "database"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_doctor_tells_what_others_may_open(settings: Settings) -> None:
    start(settings)
    assert [each.advice for each in findings(settings, "file modes")] == [""]
    for path in (settings.home, settings.database):
        path.chmod(0o750)
    (finding,) = findings(settings, "file modes")
    assert finding.advice.endswith(f"chmod go= {settings.home} {settings.database}")
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o750
