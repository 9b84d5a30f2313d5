"""Files on a real disk: whole or not at all, and a second time not again."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.wiring.clients import CLIENTS, files_for
from mirror.wiring.report import written
from mirror.wiring.write import NotWritten, Placed, below, place, write_all
from tests.mirror.wiring.samples import HERE, HUB, THERE, TWO, only

GHCRS = "etc/containerd/certs.d/ghcr.io/hosts.toml"
DAEMON = "etc/docker/daemon.json"


def wire(root: Path, client: str) -> list[Placed]:
    placed = place(root, files_for(client, THERE, TWO))
    write_all(placed)
    return placed


def all_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize("client", CLIENTS)
def test_written_as_it_is_printed(tmp_path: Path, client: str) -> None:
    placed = wire(tmp_path, client)
    assert all(file.changed for file in placed)
    printed = {file.path.lstrip("/"): file.content.encode() for file in files_for(client, THERE, TWO)}
    assert all_in(tmp_path) == printed, "and nothing beside it"


@pytest.mark.parametrize("client", CLIENTS)
def test_second_time(tmp_path: Path, client: str) -> None:
    wire(tmp_path, client)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")}
    assert not any(file.changed for file in wire(tmp_path, client))
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")} == before


def test_mode(tmp_path: Path) -> None:
    """Every client's user can read it, whatever the umask is; one that others may not read stays so."""
    previous = os.umask(0o027)
    try:
        wire(tmp_path, "podman")
        put(tmp_path, DAEMON, "{}").chmod(0o600)
        wire(tmp_path, "docker")
    finally:
        os.umask(previous)
    modes = [stat.S_IMODE(below(tmp_path, only(client).path).stat().st_mode) for client in ("podman", "docker")]
    assert modes == [0o644, 0o600]


def test_merged(tmp_path: Path) -> None:
    daemon = put(tmp_path, DAEMON, '{"debug": true, "registry-mirrors": ["http://a"]}')
    (placed,) = wire(tmp_path, "docker")
    assert json.loads(daemon.read_text())["registry-mirrors"] == ["http://a", str(THERE)]
    assert json.loads(daemon.read_text())["debug"] is True
    assert placed.content == daemon.read_text()
    assert f"{daemon}: before this server Docker still asks http://a; remove what is gone\n" in written([placed])


def test_another_server(tmp_path: Path) -> None:
    write_all(place(tmp_path, files_for("containerd", HERE, HUB)))
    assert [file.changed for file in wire(tmp_path, "containerd")] == [True, True]
    assert all(str(THERE) in content.decode() for content in all_in(tmp_path).values())


@pytest.mark.parametrize(
    ("client", "path", "present", "reason"),
    [
        ("containerd", GHCRS, 'server = "https://ghcr.io"\n', "not made by `mirror wire`"),
        ("containerd", GHCRS, "", "not made by `mirror wire`"),
        ("podman", "etc/containers/registries.conf.d/registry-mirror.conf", "# mine\n", "not made by `mirror wire`"),
        ("k3s", "etc/rancher/k3s/registries.yaml", "mirrors:\n", "different"),
        ("buildkit", "etc/buildkit/buildkitd.toml", "debug = true\n", "different"),
        ("docker", DAEMON, "{,}", "not valid JSON"),
    ],
)
def test_refused(tmp_path: Path, client: str, path: str, present: str, reason: str) -> None:
    """The text names the file; nothing is written, also where another file could be."""
    file = put(tmp_path, path, present)
    with pytest.raises(NotWritten) as failure:
        wire(tmp_path, client)
    assert str(failure.value).startswith(f"{file}: left as it is: ")
    assert reason in str(failure.value)
    assert failure.value.exit_code == 1
    assert all_in(tmp_path) == {path: present.encode()}


def test_not_text(tmp_path: Path) -> None:
    put(tmp_path, DAEMON, "").write_bytes(b"\xff")
    with pytest.raises(NotWritten, match="not UTF-8"):
        wire(tmp_path, "docker")
    assert all_in(tmp_path) == {DAEMON: b"\xff"}


def test_symbolic_link(tmp_path: Path) -> None:
    elsewhere = put(tmp_path, "elsewhere", "{}")
    put(tmp_path, DAEMON, "").unlink()
    (tmp_path / DAEMON).symlink_to(elsewhere)
    with pytest.raises(NotWritten, match="symbolic link"):
        wire(tmp_path, "docker")
    assert (elsewhere.read_text(), (tmp_path / DAEMON).is_symlink()) == ("{}", True)


@pytest.mark.parametrize("target", ["../elsewhere", "../not-there", "/not-there", ".."])
def test_link_that_leads_out(tmp_path: Path, target: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root, elsewhere):
        folder.mkdir()
    (root / "etc").symlink_to(target)
    with pytest.raises(NotWritten, match=f"{DAEMON}: left as it is: .* leads out of {root}$"):
        wire(root, "docker")
    assert all_in(tmp_path) == {}


def test_links_that_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    (root / "etc").symlink_to("data")
    (tmp_path / "link").symlink_to(root)
    wire(tmp_path / "link", "docker")
    assert list(all_in(root)) == ["data/docker/daemon.json"]


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("etc")
    with pytest.raises(NotWritten, match="Too many levels of symbolic links"):
        wire(tmp_path, "docker")


def test_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / DAEMON).mkdir(parents=True)
    with pytest.raises(NotWritten, match=f"{DAEMON}: cannot be read: Is a directory"):
        wire(tmp_path, "docker")


def test_file_where_a_folder_belongs(tmp_path: Path) -> None:
    put(tmp_path, "etc", "")
    with pytest.raises(NotWritten, match=f"{DAEMON}: cannot be read: Not a directory"):
        wire(tmp_path, "docker")


def test_no_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: there is no such folder"):
        wire(tmp_path / "none", "docker")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "replace"])
def test_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Wherever it happens: the error names the file, what was there is there, and no part of a new one is."""
    daemon = put(tmp_path, DAEMON, "{}")
    placed = place(tmp_path, [only("docker"), only("k3s")])
    if call == "mkdir":
        placed.reverse()  # its folder is not there yet

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(NotWritten, match="cannot be written: No space left on device") as failure:
        write_all(placed)
    monkeypatch.undo()
    assert str(failure.value).startswith(f"{placed[0].path}: ")
    assert all_in(tmp_path) == {DAEMON: b"{}"}
    assert daemon.read_text() == "{}"


def test_folder_that_takes_nothing() -> None:
    """Not even from root."""
    with pytest.raises(NotWritten, match=r"^/proc/etc/docker/daemon\.json: cannot be written: "):
        wire(Path("/proc"), "docker")
