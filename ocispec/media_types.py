"""The media types a registry has to know. Everything else is carried as it comes."""

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

IMAGES = frozenset({OCI_IMAGE, DOCKER_IMAGE})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = IMAGES | INDEXES

# What we ask an upstream for: most wanted first. One line, as containerd sends it.
ACCEPT = ", ".join((OCI_INDEX, DOCKER_LIST, OCI_IMAGE, DOCKER_IMAGE))

OCTET_STREAM = "application/octet-stream"

# Layers that a registry need not hold: their bytes come from the descriptor's `urls`, which we never fetch.
NONDISTRIBUTABLE = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)


def essence(content_type: str) -> str:
    """The type without parameters: `a/b; charset=utf-8` → `a/b` (RFC 9110, 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()
