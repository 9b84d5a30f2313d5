"""How people are told that something is not here. Programs get what the specification says."""

from ocispec.errors import ManifestUnknown, NameUnknown

# These say nothing of why it is not here.
_BARE = {ManifestUnknown.message, NameUnknown.message}


def absence(name: str, message: str, hint: str = "") -> str:
    """What is said of `name` where a registry's answer is an error, with this message. Where all that it says is that
    it knows no such thing, `hint` says what can be done."""
    if message in _BARE:
        return f"{name} is not here; nobody has pulled or pushed it yet{hint}"
    return f"{name}: {message}"
