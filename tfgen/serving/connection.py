"""A connection of the server: uvicorn's, with limits of its own and errors as JSON.

A client that sends its request too slowly, that never reads its answer, or that sends a head
without an end would else hold a connection or memory for as long as it likes.
"""

import asyncio
import socket
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# Most bytes of a request's first line and headers.
MAX_HEAD = 2**16
# Seconds for a request's head to arrive, and for an answer to be taken.
HEAD_TIMEOUT, SEND_TIMEOUT = 30.0, 120.0
# Seconds for the rest of a request that is refused before its end, which is read and dropped, first
# before the answer and then after it: if the connection were closed at once, many clients would see
# no answer but a broken connection.
LINGER = 5.0


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which also limits the size of a head and the time for it."""

    _timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    # Bytes of the head that is arriving, without those that came with the request before it.
    _head = 0
    _is_refused = False

    def connection_made(self, transport: Any) -> None:
        """Starts the time for the first head."""
        # asyncio does so only for sockets whose protocol is named. Without it, the body of an
        # answer waits up to 40 ms until the client has acknowledged the head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._wait_for_head()

    def on_message_begin(self) -> None:
        """Starts the time for a further head."""
        super().on_message_begin()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._refuse_slow_head)

    def _refuse_slow_head(self) -> None:
        self.refuse(408, f"The request did not arrive within {HEAD_TIMEOUT:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_headers_complete(self) -> None:
        """Ends the time for the head."""
        self._stop_timer()
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body, which is no head."""
        self._head = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Starts the time for the rest of a request that is answered before its end."""
        super().on_response_complete()
        if self.cycle.more_body and self.cycle.response_complete and self._timer is None:
            self._timer = self.loop.call_later(LINGER, self.transport.close)

    def on_message_complete(self) -> None:
        """Ends that time."""
        self._stop_timer()
        self._head = 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Reads what arrives, a head only up to its limit."""
        if self._is_refused:
            return
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD:
            self.refuse(431, f"The head of the request is longer than {MAX_HEAD} bytes")

    def eof_received(self) -> None:
        """Answers a request whose body is cut off; the connection is then closed."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started:
            self.refuse(400, "The body of the request is cut off")

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP."""
        self.refuse(400, msg)

    def refuse(self, status: int, message: str) -> None:
        """Answers with an error as JSON and closes the connection.

        If requests before it wait for their answers, the last of these answers closes it.
        """
        self._stop_timer()
        if self.transport.is_closing() or self._is_refused:
            return
        self._is_refused = True
        cycle = self.cycle
        if cycle is not None:
            if self.pipeline or not (cycle.more_body or cycle.response_complete):
                cycle.keep_alive = False
                return
            cycle.disconnected = True  # drops the application's own answer, if it gives one
            cycle.message_event.set()
        body = orjson.dumps({"error": message})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER, self.transport.close)

    def pause_writing(self) -> None:
        """Starts the time for the client to take its answer."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(SEND_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends that time."""
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all times."""
        self._stop_timer()
        if self._send_timer is not None:
            self._send_timer.cancel()
        super().connection_lost(exc)
