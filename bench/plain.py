"""The ends without a compiler: a backend and a load of threads and blocking sockets, for small requests only.

They are not light, and would not do for a benchmark. For a ratio of two proxies' CPU, by the kernel's account, they do.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import family

if TYPE_CHECKING:
    from bench.measure import Row
    from bench.processes import Running

CONNECTIONS, REQUESTS, WARM_REQUESTS = 4, 300, 20
REQUEST = b"GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: plain\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
END = b"x" * 100
TIMEOUT_S = 20


def run(running: Running, _arguments: str) -> Row:
    """Send requests through a proxy, one after the other on each connection; give its CPU for one, and the errors."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(backend(running.backend_port)))
        stack.callback(listener.shutdown, socket.SHUT_RDWR)  # or it goes on listening for the thread that waits in it
        clients = [stack.enter_context(closing(dial(running.port))) for _ in range(CONNECTIONS)]
        errors = ask(clients, WARM_REQUESTS)
        before = cpu_us(running)
        errors += ask(clients, REQUESTS)
        used = cpu_us(running) - before
    return {"cpu_us_per_unit": used / (CONNECTIONS * REQUESTS), "errors": errors, "lost_chunks": 0, "changed_chunks": 0}


def dial(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(clients: list[socket.socket], times: int) -> int:
    """All clients at once: what a proxy does for several events of one wake-up is part of its cost."""
    errors = 0
    for _ in range(times):
        for client in clients:
            client.sendall(REQUEST)
        errors += sum(not answered(client) for client in clients)
    return errors


def answered(client: socket.socket) -> bool:
    answer = b""
    while not answer.endswith(END):
        some = client.recv(65536)
        if not some:
            return False
        answer += some
    return answer.startswith(b"HTTP/1.1 200 ")


def backend(port: int) -> socket.socket:
    """Listen, and answer each request on each connection until its end."""
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    return listener


def accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed: the run is over
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection: socket.socket) -> None:
    with closing(connection):
        held = b""
        while some := connection.recv(65536):
            held += some
            while b"\r\n\r\n" in held:
                held = held.partition(b"\r\n\r\n")[2]
                connection.sendall(ANSWER)


def cpu_us(running: Running) -> float:
    """All threads of all processes of a proxy, in the kernel's nanoseconds."""
    if running.process is None:
        return 0.0
    tasks = (task for pid in family(running.process.pid) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1000
