"""A listener on loopback with real sockets: it keeps what every connection sent and answers as told."""

import socket
import threading
from collections.abc import Callable
from typing import Self

#: writes an answer to a connection; may take its time
Script = Callable[[socket.socket], None]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/fhir+json", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def says(answer: bytes) -> Script:
    """Writes these bytes at once."""
    return lambda connection: connection.sendall(answer)


ACCEPTS = says(http(b"{}"))


class Listener:
    """Listens while it is entered. `heard` is the head that came over each connection (b"" where `head` is not read,
    because the script reads for itself).
    """

    def __init__(self, script: Script = ACCEPTS, head: bool = True):
        self.heard: list[bytes] = []
        self._script, self._head = script, head
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            place = len(self.heard)
            self.heard.append(head)
            try:
                while self._head and b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                    self.heard[place] = head
                self._script(connection)
            except OSError:
                return
