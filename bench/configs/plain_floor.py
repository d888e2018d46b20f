"""The floor where there is no compiler: bytes passed on by epoll. usage: plain_floor.py PORT UPSTREAM_PORT."""

import select
import socket
import sys

PORT, UPSTREAM_PORT = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
other: dict[int, socket.socket] = {}
own: dict[int, socket.socket] = {}


def join(client: socket.socket) -> None:
    upstream = socket.create_connection(("127.0.0.1", UPSTREAM_PORT))
    for one, its_other in ((client, upstream), (upstream, client)):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own[one.fileno()], other[one.fileno()] = one, its_other
        poll.register(one, select.EPOLLIN)


def part(one: socket.socket) -> None:
    for end in (other[one.fileno()], one):
        poll.unregister(end)
        del own[end.fileno()], other[end.fileno()]
        end.close()


def pass_on(fd: int) -> None:
    one = own.get(fd)
    if one is None:  # its other end was parted in the same batch
        return
    try:
        some = one.recv(65536)
        if some:
            other[fd].sendall(some)
            return
    except OSError:
        pass
    part(one)


while True:
    for ready, _ in poll.poll():
        if ready == listener.fileno():
            try:
                join(listener.accept()[0])
            except OSError:
                continue  # the client closes, and sees to the rest
        else:
            pass_on(ready)
