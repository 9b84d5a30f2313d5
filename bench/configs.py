"""The configuration each server runs with: defaults wherever they are fair, and one log line for each request."""

import os
import pwd
from pathlib import Path

from bench.content import MANIFEST_TYPE

LIMITED_BYTES_PER_SECOND = 100_000_000
DISTANT_BYTES_PER_SECOND = 20_000_000
DISTANT_SECONDS = 0.05  # there and back


def nginx(folder: Path, static: Path, port: int, limited_port: int, narrow_port: int) -> str:
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    registry = f"""
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
    }}"""
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
  server {{
    listen 127.0.0.1:{port};
    {registry}
  }}
  server {{
    listen 127.0.0.1:{limited_port};
    limit_rate {LIMITED_BYTES_PER_SECOND};
    {registry}
  }}
  server {{
    listen 127.0.0.1:{narrow_port};
    limit_rate {DISTANT_BYTES_PER_SECOND};
    {registry}
  }}
}}
"""


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
    return f"""
[server]
listen = "127.0.0.1:0"

[storage]
root = "{store}"

[upstreams.origin]
host = "origin.test"
url = "{upstream}"
default = true
token_hosts = []
redirect_hosts = []
tag_ttl = "5m"
"""
