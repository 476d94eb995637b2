"""Protocol between the web process, the broker and a worker: file descriptors, one-byte verdicts and frames.

A request is a connection (one end of a socket pair) that the web process hands to the broker, and the broker to a
worker. On it the web process writes the query as a line of JSON; the worker writes one frame. Where no frame comes the
broker writes a verdict instead, always as the last byte.
"""

from __future__ import annotations

import socket
import struct

ASK, PROBE = b"q", b"p"
"""Kinds of requests: a query, or the sandbox's self-test."""

READY = b"R"
"""A worker's message to the broker that it is ready for its query."""

TIMEOUT, CRASHED, BUSY, BROKEN = b"T", b"X", b"B", b"U"
"""Verdicts: killed at the limit; died; no room or no time left; no worker can be started."""

_LENGTH = struct.Struct("<Q")
_TURN = struct.Struct("<cd")


def send_request(control: socket.socket, kind: bytes, atlas: int, connection: int) -> None:
    """Hand a connection to the broker, for the atlas of that number."""
    socket.send_fds(control, [kind + bytes([atlas])], [connection])


def receive_request(control: socket.socket) -> tuple[bytes, int, int] | None:
    """Kind, atlas and connection of a request; None when every process that could send one is gone."""
    # Two bytes were sent in one piece with the descriptor, and arrive in one piece.
    data, descriptors, _, _ = socket.recv_fds(control, 2, 1)
    if len(data) < 2 or not descriptors:
        return None
    return data[:1], data[1], descriptors[0]


def send_turn(channel: socket.socket, kind: bytes, seconds: float, connection: int) -> None:
    """Hand a connection to a worker, which has that many seconds."""
    socket.send_fds(channel, [_TURN.pack(kind, seconds)], [connection])


def receive_turn(channel: socket.socket) -> tuple[bytes, float, int] | None:
    """Kind, seconds and connection of the worker's turn; None when the broker is gone."""
    data, descriptors, _, _ = socket.recv_fds(channel, _TURN.size, 1)
    if len(data) < _TURN.size or not descriptors:
        return None
    return (*_TURN.unpack(data), descriptors[0])


def framed(payload: bytes) -> bytes:
    """A worker's answer as a frame."""
    return _LENGTH.pack(len(payload)) + payload


def unframed(received: bytes | bytearray, most: int) -> bytes | None:
    """The payload if it is complete; None before that.

    Raises:
        ValueError: the frame claims to be longer than any answer.
    """
    if len(received) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(received)
    if length > most:
        raise ValueError(f"a frame of {length} bytes; expected at most {most}")
    return bytes(received[_LENGTH.size : _LENGTH.size + length]) if len(received) >= _LENGTH.size + length else None
