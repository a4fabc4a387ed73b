"""Tells systemd how far we are (sd_notify): a datagram to the socket that NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import socket

from distcache_server import logs


def notify_systemd(state: str) -> bool:
    """Send ``READY=1``, ``STOPPING=1`` or ``STATUS=...``; False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # a name without a file, which begins with a zero byte
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.connect(address)
            notifier.sendall(state.encode("utf-8"))
    except OSError as error:
        logs.warning("systemd cannot be told our state", state=state, error=error.strerror)
        return False
    return True


def supervise(mode: str) -> bool:
    """Act on ``supervised``: does systemd run us, and want to hear from us?

    If not, `notify_systemd` has nothing to do from here on.
    """
    if mode == "systemd" and "NOTIFY_SOCKET" not in os.environ:
        logs.warning("systemd supervision requested, but NOTIFY_SOCKET not found")
    if mode in ("systemd", "auto") and notify_systemd("STATUS=Loading"):
        return True
    os.environ.pop("NOTIFY_SOCKET", None)
    return False
