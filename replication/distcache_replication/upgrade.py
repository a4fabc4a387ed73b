"""The one log file that Redis wrote before version 7, taken into the append-only directory.

It becomes an increment without a base: its tail may be torn, as only an increment's may.
"""

from __future__ import annotations

import os

from distcache_replication.files import Files
from distcache_replication.manifest import (
    BASE,
    INCREMENT,
    BadManifest,
    File,
    Manifest,
    Quote,
    Split,
    decode,
    encode,
)

MOST = 1 << 16
"""Bytes that the manifest of a half-done upgrade has at most."""


def upgrade(files: Files, folder: str, name: str, split: Split, quote: Quote) -> str | None:
    """Move the file from beside the directory into it; its old path, None where there is none.

    It can stop anywhere and be begun again, also where Redis began it, which writes the manifest
    before it moves the file.  Raises OSError.
    """
    parent = os.path.dirname(folder)
    inside = files.names(folder)
    begun = f"{name}.manifest" in inside
    if begun and (name in inside or not _is_begun(files, folder, name, split)):
        return None
    old, new = os.path.join(parent, name), os.path.join(folder, name)
    if name not in inside:
        if name not in files.names(parent):
            return None
        files.make_folder(folder)
        files.rename(old, new)
        files.sync_folder(folder)
        files.sync_folder(parent)
    _name_it(files, folder, name, quote)
    return old


def _is_begun(files: Files, folder: str, name: str, split: Split) -> bool:
    """Whether the manifest names nothing but the old file, as the base: so Redis begins."""
    try:
        data = files.read(os.path.join(folder, f"{name}.manifest"), 0, MOST)
        return decode(data, split) == Manifest(File(name, 1, BASE))
    except BadManifest:
        return False


def _name_it(files: Files, folder: str, name: str, quote: Quote) -> None:
    """Write a manifest that names the file."""
    temporary = os.path.join(folder, f"temp-{name}.manifest")
    descriptor = files.create(temporary)
    try:
        data = encode(Manifest(increments=(File(name, 1, INCREMENT),)), quote)
        while data:
            data = data[files.write(descriptor, data) :]
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(temporary, os.path.join(folder, f"{name}.manifest"))
    files.sync_folder(folder)
