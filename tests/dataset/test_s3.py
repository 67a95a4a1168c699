"""Remotes at a distance, over real servers on loopback: S3 (moto's), and ssh (asyncssh's SFTP)."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import artifact, dataset
from pipelines.artifact import Corrupt, Dataset
from pipelines.dataset import deletion, versions
from pipelines.errors import SeqlineError, Transient
from tests.dataset.project import commit, forget_local, identity, make_dataset, make_repo, pull, snapshot

# of boto, moto and asyncssh themselves
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CONFIG = "[core]\n    remote = far\n    analytics = false\n    check_update = false\n['remote \"far\"']\n    verify = true\n"
SECRET = "not-a-real-secret"


class Far:
    """A project whose remote is at a distance; what the remote holds, by object."""

    def __init__(self, repo: Path, made: list[Dataset], objects: Callable[[], dict[str, bytes]], put: Callable[..., None]):
        self.repo, self.made, self.objects, self.put = repo, made, objects, put


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Far:
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3_server)
    bucket = f"data-{abs(hash(tmp_path)) % 10**9}"
    client.create_bucket(Bucket=bucket)

    def objects() -> dict[str, bytes]:
        listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}

    def put(key: str, content: bytes | None) -> None:
        if content is None:
            client.delete_object(Bucket=bucket, Key=key)
        else:
            client.put_object(Bucket=bucket, Key=key, Body=content)

    repo = make_repo(tmp_path / "repo")
    (repo / ".dvc/config").write_text(f"{CONFIG}    url = s3://{bucket}/store\n    endpointurl = {s3_server}\n")
    return Far(repo, [make_dataset(tmp_path / "work", range(count)) for count in (20, 25)], objects, put)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    import asyncssh

    root = tmp_path / "server"
    root.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "key"))
    monkeypatch.setenv("HOME", str(tmp_path))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        authorized = asyncssh.import_authorized_keys(key.export_public_key().decode())
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=authorized,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
            process_factory=None,
        )

    async def close() -> None:
        server.close()
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined]  # asyncio's own table of them
            transport.abort()  # DVC keeps its connections
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    repo = make_repo(tmp_path / "repo")
    (repo / ".dvc/config").write_text(f"{CONFIG}    url = ssh://someone@127.0.0.1:{server.get_port()}/store\n")
    (repo / ".dvc/config.local").write_text(f"['remote \"far\"']\n    keyfile = {tmp_path / 'key'}\n    allow_agent = false\n")

    def put(path: str, content: bytes | None) -> None:
        (root / path).chmod(0o644)
        (root / path).unlink() if content is None else (root / path).write_bytes(content)

    yield Far(repo, [make_dataset(tmp_path / "work", range(count)) for count in (20, 25)], lambda: snapshot(root), put)
    asyncio.run_coroutine_threadsafe(close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["s3", "ssh"])
def far(request: pytest.FixtureRequest) -> Far:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_a_version_goes_there_and_comes_back(far: Far) -> None:
    first = dataset.publish(far.made[0], "one", far.repo)
    dataset.publish(far.made[1], "one", far.repo)
    forget_local(far.repo)
    assert versions.restore("one", first.md5, far.repo).md5 == first.md5
    versions.check(far.made[0], "one", far.repo)
    forget_local(far.repo)
    pull(far.repo)
    assert artifact.verify(far.repo / "data/one") == far.made[0].sha256


def test_what_went_there_is_found_and_sent_again(far: Far) -> None:
    pointer = dataset.publish(far.made[0], "one", far.repo)
    whole = far.objects()
    lost, cut = sorted(name for name in whole if not name.endswith(".dir"))[:2]
    far.put(lost, None)
    far.put(cut, whole[cut][:-1])
    assert dataset.publish(far.made[0], "one", far.repo) == pointer
    assert far.objects() == whole


def test_a_flipped_bit_there_is_found_on_fetch(far: Far) -> None:
    pointer = dataset.publish(far.made[0], "one", far.repo)
    name, content = max(far.objects().items(), key=lambda item: len(item[1]))
    far.put(name, bytes([content[0] ^ 1]) + content[1:])
    forget_local(far.repo)
    with pytest.raises(Corrupt, match=r"data/one/train\.parquet: its object .* is missing or changed"):
        versions.restore("one", pointer.md5, far.repo)
    # the dataset has the bytes: published again, they replace it
    dataset.publish(far.made[0], "one", far.repo)
    versions.check(far.made[0], "one", far.repo)


def test_a_deletion_reaches_it(far: Far) -> None:
    dataset.publish(far.made[0], "one", far.repo)
    commit(far.repo, "data")
    before = far.objects()
    done = deletion.forget("one", [identity(7)], far.repo, folders=[], why="asked", on="2026-01-02")
    left = far.objects()
    gone = {name for name in before if name not in left}
    assert list(done.rows.values()) == [1]
    assert sorted(len(before[name]) for name in gone)[-1] == max(len(content) for content in before.values())
    forget_local(far.repo)
    pull(far.repo)
    versions.verify(far.repo)


def test_no_credentials_in_files(s3: Far) -> None:
    dataset.publish(s3.made[0], "one", s3.repo)
    assert not [name for name, content in snapshot(s3.repo).items() if SECRET.encode() in content]


def test_a_server_that_is_gone_is_worth_another_try(s3: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = dataset.publish(s3.made[0], "one", s3.repo)
    config = s3.repo / ".dvc/config"
    right = config.read_text()
    config.write_text(right.replace("endpointurl = http://127.0.0.1:", "endpointurl = http://127.0.0.1:1#"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SeqlineError) as raised:
        dataset.publish(s3.made[1], "one", s3.repo)
    line = str(raised.value)
    assert isinstance(raised.value, Transient)
    assert line.startswith("data: the remote 'far' does not answer")
    assert "\n" not in line
    assert str(s3.repo) not in line
    assert (s3.repo / "data.dvc").read_text() == pointer.text
    config.write_text(right)
    dataset.publish(s3.made[1], "one", s3.repo)
    versions.check(s3.made[1], "one", s3.repo)


def test_a_remote_of_no_known_kind_is_the_users_mistake(s3: Far) -> None:
    (s3.repo / ".dvc/config").write_text(f"{CONFIG}    url = floppy://a/data\n")
    with pytest.raises(SeqlineError, match=r"the remote 'far'"):
        dataset.publish(s3.made[0], "one", s3.repo)
    assert not (s3.repo / "data.dvc").exists()
