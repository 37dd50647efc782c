"""Messages between two processes of a training, over TCP.

A message is a JSON object or the bytes of an array. What arrives is not trusted: every length is
bounded, and nothing that is received can run code.
"""

import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

# What both sides send first, so that any other program at the address is recognized.
_MAGIC = b"tfgen-workers/1\n"
_HEADER = struct.Struct("!cI")
_JSON, _BYTES = b"J", b"B"
# The longest part of a message [bytes]; arrays are sent in several parts.
MAX_PART = 2**20


class ChannelError(Exception):
    """What arrived is no message."""


class Channel:
    """One end of a connection. Several threads may send; one at a time may receive.

    Args:
        connection: a connected socket.
        timeout: longest time without a byte from the other side, and for sending a part [s].
    """

    def __init__(self, connection: socket.socket, timeout: float):
        self._socket = connection
        self._socket.settimeout(timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor, for `select`."""
        return self._socket.fileno()

    def settimeout(self, timeout: float) -> None:
        """Sets the timeout [s]."""
        self._socket.settimeout(timeout)

    def close(self) -> None:
        """Closes the connection, which the other side notices at once."""
        self._socket.close()

    def greet(self) -> None:
        """Sends what identifies this program."""
        with self._lock:
            self._socket.sendall(_MAGIC)

    def expect_greeting(self) -> None:
        """Receives what `greet` sends.

        Raises:
            ChannelError: the other side is another program.
            OSError: the connection is closed, or nothing came in time.
        """
        if self._read(len(_MAGIC)) != _MAGIC:
            raise ChannelError("the other side is no tfgen-train")

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a JSON object.

        Raises:
            OSError: the connection is closed, or the other side takes nothing.
        """
        self._send_part(_JSON, json.dumps(message).encode())

    def send_bytes(self, content: memoryview) -> None:
        """Sends bytes in parts, each of which `receive` returns.

        Raises:
            OSError: the connection is closed, or the other side takes nothing.
        """
        for start in range(0, len(content), MAX_PART):
            self._send_part(_BYTES, content[start : start + MAX_PART])

    def receive(self) -> dict[str, Any] | bytes:
        """The next message, or the next part of bytes.

        Raises:
            ChannelError: what arrived is no message.
            OSError: the connection is closed, or nothing came in time.
        """
        kind, length = _HEADER.unpack(self._read(_HEADER.size))
        if kind not in (_JSON, _BYTES) or length > MAX_PART:
            raise ChannelError("what arrived is no message of tfgen-train")
        content = self._read(length)
        if kind == _BYTES:
            return content
        try:
            message = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ChannelError("what arrived is no JSON") from error
        if not isinstance(message, dict):
            raise ChannelError("what arrived is no JSON object")
        return message

    def _send_part(self, kind: bytes, content: bytes | memoryview) -> None:
        if len(content) > MAX_PART:
            raise ChannelError(f"a message of {len(content)} bytes is too long")
        with self._lock:
            self._socket.sendall(_HEADER.pack(kind, len(content)))
            self._socket.sendall(content)

    def _read(self, length: int) -> bytes:
        content = bytearray(length)
        view = memoryview(content)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionError("the connection is closed")
            view = view[count:]
        return bytes(content)
