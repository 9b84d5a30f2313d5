"""Paths are built from what was checked, and lead nowhere but below the root."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.digest import Digest
from storage.errors import SessionUnknown
from storage.layout import Layout

LAYOUT = Layout(Path("/store"))
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(HEX, HEX)
def test_every_blob_has_a_folder_that_is_made_in_advance(low: str, high: str) -> None:
    folders = set(LAYOUT.blob_folders())
    for digest in (Digest.parse(f"sha256:{low}"), Digest.parse(f"sha512:{low}{high}")):
        path = LAYOUT.blob(digest)
        assert path.parent in folders
        assert path.name == digest.hex
        assert LAYOUT.partial(digest).parent == LAYOUT.partials


def test_there_is_a_folder_for_each_first_byte_of_each_algorithm() -> None:
    assert len(set(LAYOUT.blob_folders())) == 512


def test_everything_is_under_the_root_and_nothing_twice() -> None:
    paths = [LAYOUT.format, LAYOUT.lock, LAYOUT.index, LAYOUT.uploads, LAYOUT.partials, LAYOUT.tmp]
    assert len(set(paths)) == len(paths)
    assert all(path.parent == LAYOUT.root for path in paths)


@pytest.mark.parametrize(
    "session",
    [
        *("", ".", "..", "/", "../index.sqlite", "/etc/passwd", "a/../../b", "%2e%2e%2f", "..\\x", "a" * 31, "a" * 33),
        *("A" * 32, "g" * 32, "a" * 31 + "\n", "a" * 32 + "\n", "a" * 31 + "\0", "\u0661" * 32, "a" * 32 + "/x"),
        *("../" * 10 + "ab", "lock", "a" * 5000),
    ],
    ids=ascii,
)
def test_a_session_id_that_we_never_gave_out_has_no_path(session: str) -> None:
    with pytest.raises(SessionUnknown):
        LAYOUT.upload(session)


@given(st.text(max_size=40) | st.text("0123456789abcdef./", min_size=30, max_size=34))
def test_no_session_id_leads_out_of_its_folder(session: str) -> None:
    try:
        path = LAYOUT.upload(session)
    except SessionUnknown:
        return
    assert os.path.normpath(path) == str(path)
    assert path.parent == LAYOUT.uploads
