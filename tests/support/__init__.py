"""What tests share: servers to talk to, bare sockets, strict replies, patience."""

from tests.support.resp import (
    BigNumber,
    Error,
    Map,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
    encode,
    flat,
    plain,
)
from tests.support.servers import Process, Server, StartServer, free_port
from tests.support.waiting import eventually
from tests.support.wire import Wire

__all__ = [
    "BigNumber",
    "Error",
    "Map",
    "Process",
    "Push",
    "Reply",
    "Server",
    "Set",
    "Simple",
    "StartServer",
    "Verbatim",
    "Wire",
    "encode",
    "eventually",
    "flat",
    "free_port",
    "plain",
]
