"""The clients that cache their token: gateway-token-cached.sh and
`claimgate token`."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import token_clients as clients
import tools
import web
from token_clients import Client, Desk, Endpoint, finish, jwt

MINUTES = 60


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Issues a token that expires in an hour, by default."""
    with Endpoint() as endpoint:
        give(endpoint, "first", 3600)
        yield endpoint


@pytest.fixture
def desk(tmp_path: Path, client: Client, endpoint: Endpoint) -> Desk:
    variables = {
        "GATEWAY_CLIENT_ID": "web",
        "GATEWAY_CLIENT_SECRET": "s3cret",
        "GATEWAY_TOKEN_ENDPOINT": endpoint.url,
    }
    return Desk(tmp_path, client, variables)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path can't be as long as those of tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


every_client = pytest.mark.parametrize("client", clients.CACHED, ids=repr)


def token(name: str, lifetime: float | None) -> str:
    """A token with this `jti`, and an `exp` if it has a lifetime."""
    ends = {} if lifetime is None else {"exp": int(time.time() + lifetime)}
    return jwt(json.dumps({"jti": name, **ends}))


def give(endpoint: Endpoint, name: str, lifetime: float | None, **more: object) -> str:
    """Makes the endpoint issue a token; the token."""
    given = token(name, lifetime)
    endpoint.answer(json.dumps({"access_token": given, **more}))
    return given


def only_file(desk: Desk) -> Path:
    (file,) = desk.cache_files()
    return file


def age(file: Path, minutes: float) -> None:
    then = time.time() - minutes * MINUTES
    os.utime(file, (then, then))


def left_over(file: Path) -> list[str]:
    """Unexpected files beside the cache file."""
    return [
        other.name for other in file.parent.iterdir()
        if other != file and other.name != f"{file.name}.turn"
    ]


@every_client
def test_one_token_serves_many_runs(endpoint: Endpoint, desk: Desk):
    first = desk.run().token
    give(endpoint, "second", 3600)
    assert desk.run().token == first
    assert len(endpoint.asked) == 1
    file = only_file(desk)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert left_over(file) == []
    assert "s3cret" not in file.read_text()


@every_client
@pytest.mark.parametrize(
    "lifetime, minutes, asks",
    [
        (3600, 48, False),
        (3600, 51, True),
        (200, 0, False),
        (59, 0, True),
        (-5, 0, True),
        (None, 48, False),
        (None, 51, True),
        # From the future: the clock was wrong.
        (3600, -70, True),
    ],
)
def test_it_asks_again_when_the_token_is_old_or_ends_soon(
    endpoint: Endpoint, desk: Desk, lifetime: float | None, minutes: float, asks: bool
):
    first = give(endpoint, "first", lifetime)
    assert desk.run().token == first
    age(only_file(desk), minutes)
    second = give(endpoint, "second", 3600)
    assert desk.run().token == (second if asks else first)
    assert desk.run().token == (second if asks else first)
    assert len(endpoint.asked) == (2 if asks else 1)


@every_client
@pytest.mark.parametrize(
    "text, expires_in, asks",
    [("opaque", 30, True), ("opaque", 600, False), ("opaque", None, False), ("exp", 30, True)],
)
def test_the_answer_tells_the_lifetime_too(
    endpoint: Endpoint, desk: Desk, text: str, expires_in: int | None, asks: bool
):
    text = token("first", 3600) if text == "exp" else text
    endpoint.answer(json.dumps({"access_token": text, "expires_in": expires_in}))
    assert desk.run().token == desk.run().token == text
    assert len(endpoint.asked) == (2 if asks else 1)


@every_client
@pytest.mark.parametrize(
    "exp, expires_in, asks",
    [
        ("1e300", None, False),
        ("99999999999999999999", None, False),
        ("-5", None, True),
        (None, 1e30, False),
        (None, -1, False),
    ],
)
def test_odd_times_are_no_obstacle(
    endpoint: Endpoint, desk: Desk, exp: str | None, expires_in: float | None, asks: bool
):
    text = "opaque" if exp is None else jwt(f'{{"exp":{exp}}}')
    endpoint.answer(json.dumps({"access_token": text, "expires_in": expires_in}))
    for _ in range(2):
        outcome = desk.run()
        assert (outcome.token, outcome.stderr) == (text, "")
    assert len(endpoint.asked) == (2 if asks else 1)


@every_client
def test_how_near_the_end_is_near_can_be_told(endpoint: Endpoint, desk: Desk):
    give(endpoint, "first", 400)
    desk.run()
    desk.run(GATEWAY_MIN_VALIDITY_SECONDS="300")
    assert len(endpoint.asked) == 1
    desk.run(GATEWAY_MIN_VALIDITY_SECONDS="500")
    assert len(endpoint.asked) == 2
    wrong = desk.run(GATEWAY_MIN_VALIDITY_SECONDS="a while")
    assert (wrong.status, wrong.stdout) == (1, "")


@every_client
def test_every_request_has_its_own_token(endpoint: Endpoint, desk: Desk):
    variants: list[dict[str, str]] = [
        {},
        {"GATEWAY_CLIENT_ID": "other"},
        {"GATEWAY_SCOPE": "read"},
        {"GATEWAY_SCOPE": "write"},
        {"GATEWAY_AUDIENCE": "read"},
        {"GATEWAY_RESOURCE": "read"},
        {"GATEWAY_TOKEN_ENDPOINT": f"{endpoint.url}&other"},
    ]
    tokens = []
    for number, variant in enumerate(variants):
        give(endpoint, f"number {number}", 3600)
        tokens.append(desk.run(**variant).token)
    assert len(set(tokens)) == len(variants)
    assert [desk.run(**variant).token for variant in variants] == tokens
    assert len(endpoint.asked) == len(variants)


@every_client
def test_two_clients_in_one_file_never_get_each_others_token(endpoint: Endpoint, desk: Desk):
    desk.variables["GATEWAY_TOKEN_CACHE"] = str(desk.home / "my cache" / "-token")
    first = desk.run().token
    second = give(endpoint, "second", 3600)
    assert desk.run(GATEWAY_CLIENT_ID="other").token == second
    assert desk.run(GATEWAY_CLIENT_ID="other").token == second
    assert first != second
    assert len(endpoint.asked) == 2


@every_client
def test_many_at_once_ask_once(endpoint: Endpoint, desk: Desk):
    """The first is held up until all of them run."""
    go = threading.Event()
    expected = token("first", 3600)
    endpoint.answer(json.dumps({"access_token": expected}), hold=go)
    running = [desk.start() for _ in range(12)]
    web.wait_until(lambda: endpoint.asked, "the first request", clients.SECONDS)
    go.set()
    assert {finish(process).token for process in running} == {expected}
    assert len(endpoint.asked) == 1
    assert left_over(only_file(desk)) == []


@every_client
def test_a_refresh_does_not_disturb_readers(endpoint: Endpoint, desk: Desk):
    """Readers see the old file or the new one, never half of one."""
    first = desk.run().token
    file = only_file(desk)
    second = give(endpoint, "second", 3600, padding="x" * 40_000)
    age(file, 51)
    outcomes = [finish(process) for process in [desk.start() for _ in range(8)]]
    assert {outcome.token for outcome in outcomes} == {second}
    assert len(endpoint.asked) == 2
    assert first != second


@every_client
def test_a_failed_refresh_leaves_what_still_serves(endpoint: Endpoint, desk: Desk):
    first = desk.run().token
    endpoint.answer("", 503)
    age(only_file(desk), 51)
    outcome = desk.run()
    assert outcome.token == first
    assert "503" in outcome.stderr and "has not ended" in outcome.stderr
    # But not after the token's expiry, nor if that is unknown.
    for lifetime in [30, None]:
        give(endpoint, "next", lifetime)
        age(only_file(desk), 51)
        desk.run()
        endpoint.answer("<html>", 200)
        age(only_file(desk), 51)
        assert (desk.run().status, desk.run().stdout) == (3, "")


@every_client
def test_a_failure_is_not_kept(endpoint: Endpoint, desk: Desk):
    endpoint.answer("", 500)
    assert desk.run().status == 2
    expected = give(endpoint, "first", 3600)
    assert desk.run().token == expected


@every_client
@pytest.mark.parametrize("home", ["/proc", "/dev/null", "/proc/1/nobody", "", None])
def test_a_home_that_can_not_be_written_to_is_no_obstacle(
    endpoint: Endpoint, desk: Desk, home: str | None
):
    """Not even root can make a file in /proc."""
    environment = {**desk.environment, "HOME": home or ""}
    if home is None:
        del environment["HOME"]
    for _ in range(2):
        ended = subprocess.run(
            [str(part) for part in desk.client.command()], env=environment,
            capture_output=True, text=True, timeout=clients.SECONDS,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == token_of(endpoint) + "\n"
        assert "not cached" in ended.stderr
    assert len(endpoint.asked) == 2


@every_client
@pytest.mark.parametrize("umask", [0o000, 0o177, 0o277])
def test_no_umask_makes_it_more_or_less_than_private(endpoint: Endpoint, desk: Desk, umask: int):
    for _ in range(2):
        subprocess.run(
            [str(part) for part in desk.client.command()], env=desk.environment, umask=umask,
            capture_output=True, check=True, timeout=clients.SECONDS,
        )
    assert len(endpoint.asked) == 1
    file = only_file(desk)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in (file.parent, file.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def token_of(endpoint: Endpoint) -> str:
    return json.loads(endpoint.next[2])["access_token"]


@every_client
def test_only_a_private_file_is_believed(endpoint: Endpoint, desk: Desk):
    planted = desk.run().token
    file = only_file(desk)
    endpoint.asked.clear()

    file.chmod(0o644)
    fresh = give(endpoint, "fresh", 3600)
    assert desk.run().token == fresh != planted
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    if os.geteuid() == 0:
        os.chown(file, 12345, 12345)
        freshest = give(endpoint, "freshest", 3600)
        assert desk.run().token == freshest
        assert file.stat().st_uid == 0


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def make_device(path: Path) -> None:
    """The test's own null device: the machine's is never touched."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device takes root and CAP_MKNOD")


def plant_file(path: Path) -> Path:
    path.write_text("not a token\n")
    path.chmod(0o600)
    return path


OBSTACLES: dict[str, Callable[[Path], object]] = {
    "device": make_device,
    "FIFO": os.mkfifo,
    "socket": make_socket,
    "folder": Path.mkdir,
    "symlink to a file": lambda path: path.symlink_to(plant_file(path.with_name("target"))),
    "symlink to nothing": lambda path: path.symlink_to(path.with_name("nowhere")),
    "symlink to a device": lambda path: (
        make_device(path.with_name("device")), path.symlink_to(path.with_name("device"))
    ),
}


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """The content of a folder: inode, type with permissions, and size of each file."""
    found = {entry.name: entry.lstat() for entry in folder.iterdir()}
    return {name: (it.st_ino, it.st_mode, it.st_size) for name, it in found.items()}


@every_client
@pytest.mark.parametrize("kind", OBSTACLES)
def test_nothing_but_a_regular_file_is_replaced(
    endpoint: Endpoint, desk: Desk, short_folder: Path, kind: str
):
    place = short_folder / "cache"
    OBSTACLES[kind](place)
    before = contents(short_folder)
    outcome = desk.run(GATEWAY_TOKEN_CACHE=str(place))
    assert (outcome.status, outcome.stdout) == (1, "")
    assert str(place) in outcome.stderr and "regular file" in outcome.stderr, outcome.stderr
    assert contents(short_folder) == before
    assert endpoint.asked == [], "the secret is not sent for a token that can't be kept"


@every_client
def test_what_comes_into_the_files_place_meanwhile_stays(
    endpoint: Endpoint, desk: Desk, short_folder: Path
):
    """A FIFO is put there during the request for the token."""
    place = short_folder / "cache"
    go = threading.Event()
    expected = token("first", 3600)
    endpoint.answer(json.dumps({"access_token": expected}), hold=go)
    running = desk.start(GATEWAY_TOKEN_CACHE=str(place))
    web.wait_until(lambda: endpoint.asked, "the request", clients.SECONDS)
    os.mkfifo(place)
    go.set()
    outcome = finish(running)
    assert outcome.token == expected
    assert "not cached" in outcome.stderr
    assert stat.S_ISFIFO(place.lstat().st_mode)
    assert {entry.name for entry in short_folder.iterdir()} <= {"cache", "cache.turn"}


@every_client
@pytest.mark.parametrize("target", ["nowhere", "a folder", "a file"])
def test_no_link_leads_from_the_lock_elsewhere(
    endpoint: Endpoint, desk: Desk, short_folder: Path, target: str
):
    elsewhere = short_folder / "elsewhere"
    if target == "a folder":
        elsewhere.mkdir()
        age(elsewhere, 10)
    if target == "a file":
        plant_file(elsewhere)
    for suffix in ["lock", "turn"]:
        (short_folder / f"cache.{suffix}").symlink_to(elsewhere)
    before = contents(short_folder)
    outcome = desk.run(GATEWAY_TOKEN_CACHE=str(short_folder / "cache"))
    assert outcome.token == token_of(endpoint)
    after = contents(short_folder)
    assert after.pop("cache")[1] == stat.S_IFREG | 0o600
    assert after == before


@every_client
@pytest.mark.parametrize("text", ["", "\n\n\n", "not\na\ncache\n", "\0\0\0"])
def test_a_broken_file_is_replaced(endpoint: Endpoint, desk: Desk, text: str):
    desk.run()
    file = only_file(desk)
    file.write_text(text)
    second = give(endpoint, "second", 3600)
    assert desk.run().token == second
    assert desk.run().token == second
    assert len(endpoint.asked) == 2


@every_client
def test_a_client_that_is_ended_leaves_nothing_behind(endpoint: Endpoint, desk: Desk):
    go = threading.Event()
    endpoint.answer('{"access_token":"late"}', hold=go)
    running = desk.start()
    web.wait_until(lambda: endpoint.asked, "a request", clients.SECONDS)
    running.send_signal(signal.SIGTERM)
    go.set()
    running.communicate(timeout=clients.SECONDS)
    expected = give(endpoint, "first", 3600)
    assert desk.run().token == expected
    assert left_over(only_file(desk)) == []


@pytest.mark.parametrize("client", clients.CACHED[:3], ids=repr)
def test_a_stale_lock_is_broken(endpoint: Endpoint, desk: Desk):
    """Its owner was killed long before this run."""
    first = desk.run().token
    file = only_file(desk)
    age(file, 51)
    lock = file.with_name(f"{file.name}.lock")
    lock.mkdir()
    age(lock, 10)
    second = give(endpoint, "second", 3600)
    assert desk.run().token == second != first
    assert left_over(file) == []


@every_client
def test_no_client_waits_forever(endpoint: Endpoint, desk: Desk):
    """One process requests a token and never gets a response; the next one
    stops waiting and requests its own."""
    never = threading.Event()
    endpoint.answer("", hold=never)
    stuck = desk.start(GATEWAY_TIMEOUT_SECONDS="60")
    web.wait_until(lambda: endpoint.asked, "the first request", clients.SECONDS)
    expected = give(endpoint, "second", 3600)
    assert desk.run(GATEWAY_TIMEOUT_SECONDS="1").token == expected
    never.set()
    finish(stuck)


def test_both_programs_read_the_same_file(endpoint: Endpoint, tmp_path: Path):
    """In either order, if they share one."""
    for number, order in enumerate([clients.CACHED, list(reversed(clients.CACHED))]):
        endpoint.asked.clear()
        give(endpoint, f"round {number}", 3600.0)
        expected = token_of(endpoint)
        for client in order:
            folder = tmp_path / f"{number}-{client.name}"
            folder.mkdir()
            desk = Desk(folder, client)
            outcome = desk.run(
                GATEWAY_CLIENT_ID="wéb",
                GATEWAY_CLIENT_SECRET="s3cret",
                GATEWAY_TOKEN_ENDPOINT=endpoint.url,
                GATEWAY_SCOPE="a b",
                GATEWAY_TOKEN_CACHE=str(tmp_path / f"shared-{number}"),
            )
            assert outcome.token == expected
        assert len(endpoint.asked) == 1


def test_the_script_is_found_through_symlinks(endpoint: Endpoint, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "link").symlink_to(clients.SCRIPTS / "gateway-token-cached.sh")
    (tmp_path / "bin" / "gateway-token").symlink_to("../link")
    client = Client("linked", lambda: ["gateway-token"], True)
    desk = Desk(tmp_path / "desk", client)
    desk.folder.mkdir()
    outcome = desk.run(
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        GATEWAY_CLIENT_ID="web",
        GATEWAY_CLIENT_SECRET="s3cret",
        GATEWAY_TOKEN_ENDPOINT=endpoint.url,
    )
    assert outcome.token == token_of(endpoint)


def test_no_cache_leaves_the_cache_alone(endpoint: Endpoint, tmp_path: Path):
    client = Client("token", lambda: [tools.claimgate(), "token", "--no-cache"], False)
    desk = Desk(tmp_path, client, {
        "GATEWAY_CLIENT_ID": "web",
        "GATEWAY_CLIENT_SECRET": "s3cret",
        "GATEWAY_TOKEN_ENDPOINT": endpoint.url,
    })
    desk.run()
    desk.run()
    assert len(endpoint.asked) == 2
    assert not desk.cache_files()
