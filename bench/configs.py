"""The configuration each server runs with: defaults wherever they are fair, and one log line for each request."""

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.content import MANIFEST_TYPE

LIMITED_BYTES_PER_SECOND = 100_000_000
DISTANT_BYTES_PER_SECOND = 20_000_000
DISTANT_SECONDS = 0.05  # there and back


@dataclass(frozen=True)
class Site:
    """One port of the upstream. `bytes_per_second` is for each connection, 0 for as fast as it can."""

    port: int
    bytes_per_second: int
    wants_token: bool


def nginx(folder: Path, static: Path, sites: Iterable[Site]) -> str:
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}
  log_format requests '$request_method $uri $status $body_bytes_sent';
  access_log {folder}/access.log requests;
  default_type application/octet-stream;
  sendfile on;
  keepalive_requests 1000000;
  map_hash_bucket_size 256;
  map $uri $object {{
    default none;
    ~/(?:blobs|manifests)/(?<digest>sha256:[0-9a-f]+)$ $digest;
    include {folder}/tags.map;
  }}
  map "$uri $http_authorization" $is_stranger {{
    default 1;
    "~^/token " 0;
    "~ Bearer anonymous$" 0;
  }}
{"".join(_site(site, static) for site in sites)}}}
"""


def _site(site: Site, static: Path) -> str:
    return f"""
  server {{
    listen 127.0.0.1:{site.port};
    limit_rate {site.bytes_per_second};
    {_TOKENS if site.wants_token else ""}
    location = /v2/ {{
      default_type application/json;
      add_header Docker-Distribution-Api-Version registry/2.0;
      return 200 '{{}}';
    }}
    location ~ ^/v2/.+/blobs/sha256:[0-9a-f]+$ {{
      add_header Docker-Content-Digest $object;
      alias {static}/blobs/$object;
    }}
    location ~ ^/v2/.+/manifests/[^/]+$ {{
      default_type {MANIFEST_TYPE};
      add_header Docker-Content-Digest $object;
      alias {static}/manifests/$object;
    }}
  }}
"""


# As Docker Hub does: a challenge, and a token for everybody who asks.
_TOKENS = """
    add_header WWW-Authenticate 'Bearer realm="http://$http_host/token",service="origin.test"' always;
    if ($is_stranger) { return 401; }
    location = /token {
      default_type application/json;
      add_header Cache-Control no-store;
      return 200 '{"token": "anonymous", "access_token": "anonymous", "expires_in": 3600}';
    }"""


def docker_registry(store: Path, port: int, upstream: str) -> str:
    """Debian's default file, with one log line for each request instead of two, and without passwords."""
    proxy = f"proxy:\n  remoteurl: {upstream}\n" if upstream else ""
    return f"""
version: 0.1
log:
  level: warn
  accesslog:
    disabled: false
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {store}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
  secret: only-for-this-benchmark
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
{proxy}"""


def mirror(store: Path, upstream: str) -> str:
    """Where it listens, where its store is and what its upstream is; everything else is its default."""
    return f"""
[server]
listen = "127.0.0.1:0"

[storage]
root = "{store}"

[upstreams.origin]
host = "origin.test"
url = "{upstream}"
default = true
"""
