"""A way to PostgreSQL that can lose the answer to a COMMIT."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # as libpq sends it
_BUFFER = 65_536
_READS = b"driftgraph-reads"  # in the first packet of a connection of the read pool


class Proxy:
    """Hands on what either side sends; where a write commits, once it is armed, the answer is lost."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0
        self._left, self._lock = 0, threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def lose(self, answers: int) -> None:
        """The next answers to a COMMIT of a write do not arrive."""
        with self._lock:
            self._left = answers

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, suppress(OSError):
            server.connect(str(self._server))
            losing = threading.Event()
            threading.Thread(target=self._answer, args=(server, client, losing), daemon=True).start()
            writes = True
            while data := client.recv(_BUFFER):
                writes = writes and _READS not in data
                if writes and data == _COMMIT and self._take():
                    losing.set()
                server.sendall(data)

    def _take(self) -> bool:
        with self._lock:
            taken = self._left > 0
            self._left -= taken
            self.lost += taken
            return taken

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_BUFFER):
                if losing.is_set():
                    break
                client.sendall(data)
        for side in (client, server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
