"""TEMPORARY: the clients against plain docker-registry."""

import os
import shutil
from tests.clients import servers
from tests.clients.processes import Daemon, fence, find


class Direct(servers.Registry):
    def __init__(self, folder, upstream, seed):
        mode = os.environ["CLIENTS_DIRECT"]
        super().__init__(folder, seed if mode == "plain" else None)
        self._up = upstream
        self.proxy = mode == "proxy"
        self.root = folder / "store"

    def start(self):
        import tests.clients.servers as s

        old = s._REGISTRY_CONFIG
        if self.proxy:
            s._REGISTRY_CONFIG = old + 'proxy: {{remoteurl: "%s"}}\n' % self._up
        try:
            super().start()
        finally:
            s._REGISTRY_CONFIG = old

    def kill(self):
        self.stop()

    def stored(self):
        files = (f for f in (self.root / "docker/registry/v2/blobs/sha256").rglob("data"))
        return {f"sha256:{f.parent.name}": f.stat().st_size for f in files}
