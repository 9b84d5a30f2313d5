"""The two servers of every test: the upstream registry, and the mirror in front of it."""

import hashlib
import json
import os
import re
import shutil
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.clients.processes import CommandFailed, Daemon, fence, find, wait_for

_REPOSITORY_ROOT = Path(__file__).parents[2]
_ACCESS_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d{3}) ')
_MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_REGISTRY_CONFIG = """\
version: 0.1
log: {{level: info, formatter: json}}
storage: {{filesystem: {{rootdirectory: "{root}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: tests}}
"""

_MIRROR_CONFIG = """\
[server]
listen = "127.0.0.1:{port}"
[storage]
root = "{root}"
[registry]
sparse_manifests = "index"
"""

_UPSTREAM = """\
[upstreams."{host}"]
host = "{host}"
url = "{url}"
default = {default}
token_hosts = {token_hosts}
redirect_hosts = {redirect_hosts}
tag_ttl = "{tag_ttl}"
"""


class Request(NamedTuple):
    """One request as the upstream registry logged it; the path is without the query."""

    method: str
    path: str
    status: int


@dataclass
class Content:
    """What a client on amd64 fetches for one image: digests with their sizes."""

    config: str = ""
    manifests: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)

    @property
    def everything(self) -> dict[str, int]:
        return self.manifests | self.blobs

    @property
    def digest(self) -> str:
        """The digest the tag points to: the image's, or that of the index it is in."""
        return next(iter(self.manifests))


class Upstream(NamedTuple):
    """A section of the mirror's configuration. Hosts in its lists are loopback's, with their ports."""

    url: str
    host: str = "docker.io"
    token_hosts: tuple[str, ...] = ()
    redirect_hosts: tuple[str, ...] = ()
    tag_ttl: str = "5m"


class _Server:
    """A registry on a loopback port of its own choosing, which it keeps when it is started again."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.root = folder / "store"
        self.port = 0
        self._folder = folder
        self._name = name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """What stands before the repository in an image's name."""
        return f"localhost:{self.port}"

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Accept": _MANIFEST_TYPES})
        with _NO_PROXY.open(request, timeout=20) as response:
            body: bytes = response.read()
        return body

    def content(self, repository: str, reference: str) -> Content:
        """Follows a tag or digest down to the blobs, as a client on amd64 does."""
        found = Content()
        self._follow(repository, reference, found)
        return found

    def _follow(self, repository: str, reference: str, found: Content) -> None:
        raw = self.get(f"/v2/{repository}/manifests/{reference}")
        found.manifests[f"sha256:{hashlib.sha256(raw).hexdigest()}"] = len(raw)
        manifest = json.loads(raw)
        if "manifests" in manifest:
            entries = [entry for entry in manifest["manifests"] if entry["platform"]["architecture"] == "amd64"]
            return self._follow(repository, str(entries[0]["digest"]), found)
        descriptors: list[dict[str, Any]] = [manifest["config"], *manifest["layers"]]
        found.config = descriptors[0]["digest"]
        found.blobs.update((entry["digest"], entry["size"]) for entry in descriptors)
        return None


class Registry(_Server):
    """Debian's docker-registry in the role of the upstream registry; its access log tells what it was asked."""

    def __init__(self, folder: Path, seed: Path | None = None) -> None:
        super().__init__("registry", folder)
        if seed is not None:
            shutil.copytree(seed, self.root)
        self._config = folder / "registry.yml"
        self._daemon = Daemon(
            self._name, folder, [find("docker-registry"), "serve", str(self._config)], fence(folder / "home")
        )
        self._forgotten = 0

    def start(self) -> None:
        self._config.write_text(_REGISTRY_CONFIG.format(root=self.root, port=self.port))
        before = self._daemon.stderr.stat().st_size if self._daemon.stderr.exists() else 0
        self._daemon.start(lambda: self._listening(before))

    def stop(self) -> None:
        self._daemon.kill()

    def requests(self) -> list[Request]:
        """Every request since the start or `forget`, except pings; complete up to the moment of asking."""
        return [request for request in self._logged()[self._forgotten :] if request.path != "/v2/"]

    def forget(self) -> None:
        """Counts from now on."""
        self._forgotten = len(self._logged())

    def _listening(self, before: int) -> bool:
        """Reads the port from the log, which also means that it is open."""
        line = re.search(rb"listening on 127\.0\.0\.1:(\d+)", self._daemon.stderr.read_bytes()[before:])
        if line is None:
            return False
        self.port = int(line[1])
        return True

    def _logged(self) -> list[Request]:
        """The access log, once a last request of our own has reached it."""
        seen = len(self._daemon.stdout.read_bytes())
        self.get("/v2/")
        assert wait_for(lambda: b'"GET /v2/ HTTP' in self._daemon.stdout.read_bytes()[seen:])
        lines = _ACCESS_LINE.finditer(self._daemon.stdout.read_text())
        return [Request(line["method"], line["target"].partition("?")[0], int(line["status"])) for line in lines]


class Mirror(_Server):
    """The server under test, as a process of its own. Its first upstream is the default one."""

    def __init__(self, folder: Path, *upstreams: Upstream) -> None:
        super().__init__("mirror", folder)
        self._upstreams = upstreams
        self.config = folder / "mirror.toml"
        argv = [sys.executable, "-m", "mirror", "serve", "--config", str(self.config)]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment["PYTHONPATH"] = str(_REPOSITORY_ROOT)
        self._daemon = Daemon(self._name, folder, argv, environment)

    @property
    def log(self) -> Path:
        return self._daemon.stderr

    def start(self) -> None:
        sections = [_section(upstream, upstream is self._upstreams[0]) for upstream in self._upstreams]
        text = _MIRROR_CONFIG.format(root=self.root, port=self.port) + ("".join(sections) or "[upstreams]\n")
        self.config.write_text(text)
        self._daemon.start(self._listening)

    def stop(self) -> None:
        """Ends it politely; that must work, and be an ordinary end."""
        code = self._daemon.stop()
        if code != 0:
            raise CommandFailed(["mirror"], f"exit code {code} after SIGTERM", self.log.read_text()[-4000:])
        errors = [line for line in self.log.read_text().splitlines() if '"level": "error"' in line]
        assert errors == [], "no client of these tests has done anything that is an error of the server"

    def kill(self) -> None:
        """kill -9: nothing is flushed, closed or said goodbye to."""
        self._daemon.kill()

    def stored(self) -> dict[str, int]:
        """Every file of content in the store, by digest, with its size."""
        files = (file for file in (self.root / "blobs").rglob("*") if file.is_file())
        return {f"{file.parent.parent.name}:{file.name}": file.stat().st_size for file in files}

    def _listening(self) -> bool:
        line = re.search(r"^listening on http://[^\n]*:(\d+)$", self._daemon.printed(), re.MULTILINE)
        if line is None:
            return False
        self.port = int(line[1])
        return True


def _section(upstream: Upstream, default: bool) -> str:
    return _UPSTREAM.format(
        host=upstream.host,
        url=upstream.url,
        default=json.dumps(default),
        token_hosts=json.dumps(upstream.token_hosts),
        redirect_hosts=json.dumps(upstream.redirect_hosts),
        tag_ttl=upstream.tag_ttl,
    )
