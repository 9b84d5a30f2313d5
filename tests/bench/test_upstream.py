"""bench/upstream.py: what the access log of the upstream says."""

from pathlib import Path

from bench.content import Blob, Content, Image, Sizes
from bench.peers import Origin
from bench.upstream import Traffic, Watch

_MANIFEST = "sha256:" + "a" * 64
_LAYER = "sha256:" + "b" * 64


def _watch(folder: Path) -> tuple[Path, Watch]:
    log = folder / "access.log"
    log.write_text("GET /v2/team/app/blobs/sha256:ccc 200 1\n")
    image = Image("latest", Blob(_MANIFEST, 1, folder), ())
    content = Content("team/app", Sizes(), (), (image,))
    return log, Watch(Origin("nginx", 0, 0, {}, log), content)


def _requested(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_only_what_was_asked_for_since_counts(tmp_path: Path) -> None:
    log, watch = _watch(tmp_path)
    assert watch.traffic() == Traffic(0, 0, 0)
    _requested(log, f"GET /v2/team/app/blobs/{_LAYER} 200 10")
    assert watch.traffic() == Traffic(1, 1, 10)


def test_a_challenge_a_token_and_a_greeting_are_requests_and_no_downloads(tmp_path: Path) -> None:
    log, watch = _watch(tmp_path)
    greetings = ("GET /v2/ 200 2",) * 3
    _requested(log, f"GET /v2/team/app/blobs/{_LAYER} 401 0", "GET /token 200 5", "GET /token 200 5", *greetings)
    _requested(log, f"HEAD /v2/team/app/blobs/{_LAYER} 200 0", f"GET /v2/team/app/blobs/{_LAYER} 206 7")
    assert watch.traffic() == Traffic(8, 1, 23)


def test_a_manifest_by_tag_and_by_digest_is_one_object(tmp_path: Path) -> None:
    log, watch = _watch(tmp_path)
    _requested(log, "GET /v2/team/app/manifests/latest 200 3", f"GET /v2/team/app/manifests/{_MANIFEST} 200 3")
    assert watch.traffic() == Traffic(2, 2, 6)
