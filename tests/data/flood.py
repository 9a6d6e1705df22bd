"""Floods interlockd: `flood.py gates COUNT` opens connections to the gates' socket and keeps them, silent, half said,
or with a line that never ends; `flood.py calls COUNT` makes calls on the system bus from as many connections as a
user may have, as fast as they are taken, `flood.py metrics COUNT` more expensive ones, and `flood.py objects COUNT`,
`flood.py properties COUNT` and `flood.py introspect COUNT` walk through
the tree of objects as long as that file is there; `flood.py names COUNT`
submits as many names of 4 kB in one call, and prints the answer. Makes a file when it has
begun, and says what it has got.

No library: neither root has one that sends before it has an answer.
"""

import os
import select
import socket
import struct
import sys
import time

BEGUN = "/tmp/flooding"


def begun():
    with open(BEGUN, "w"):
        pass


def gates(count):
    kept = []
    for number in range(count):
        one = socket.socket(socket.AF_UNIX)
        one.connect("/run/interlock/gate.sock")
        one.setblocking(False)
        try:
            one.send([b"", b"interlock-gate 1 ", b"x" * 100_000][number % 3])
        except OSError:
            pass
        kept.append(one)
        if number == count // 10:
            begun()
    print(f"{count} connections", flush=True)
    sys.stdin.read()


def padded(data, to):
    return data + b"\0" * (-len(data) % to)


def call(serial, destination, path, interface, member, signature=b"", body=b""):
    def field(code, kind, value):
        size = struct.pack("<B" if kind == b"g" else "<I", len(value))
        return struct.pack("<B", code) + b"\x01" + kind + b"\0" + size + value + b"\0"

    fields = b""
    for one in [
        field(1, b"o", path),
        field(2, b"s", interface),
        field(3, b"s", member),
        field(6, b"s", destination),
        field(8, b"g", signature),
    ]:
        fields = padded(fields, 8) + one
    head = struct.pack("<BBBBIII", ord("l"), 1, 0, 1, len(body), serial, len(fields))
    return padded(head + fields, 8) + body


BUS = b"org.freedesktop.DBus"
OURS = b"org.interlock.Interlock1"


def connected():
    one = socket.socket(socket.AF_UNIX)
    one.connect("/run/dbus/system_bus_socket")
    one.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    assert one.recv(200).startswith(b"OK")
    one.sendall(b"BEGIN\r\n" + call(1, BUS, b"/org/freedesktop/DBus", BUS, b"Hello"))
    one.recv(1000)
    one.setblocking(False)
    return one


def calls(count):
    flood(count, b"a(ssssto)\0", OURS + b".Manager", b"ListTasks")


def metrics(count):
    text = b"prometheus"
    body = struct.pack("<I", len(text)) + text + b"\0"
    flood(count, b"HELP interlock_up ", OURS + b".Monitor", b"Metrics", b"s", body)


def objects(count):
    while_there(count, b"a{oa{sa{sv}}}\0", BUS + b".ObjectManager", b"GetManagedObjects")


def properties(count):
    text = OURS + b".Task"
    body = struct.pack("<I", len(text)) + text + b"\0"
    path = b"/org/interlock/Interlock1/task/a_2eservice"
    while_there(count, b"a{sv}\0", BUS + b".Properties", b"GetAll", b"s", body, path=path)


def introspect(count):
    while_there(count, b"<!DOCTYPE node", BUS + b".Introspectable", b"Introspect")


def while_there(*what, **more):
    flood(*what, **more, goes_on=lambda: os.path.exists(BEGUN))


def flood(count, mark, *what, path=b"/org/interlock/Interlock1", goes_on=lambda: True):
    clients = [connected() for _ in range(200)]
    each = range(2, 2 + count // len(clients))
    target = (OURS, path, *what)
    asked = b"".join(call(serial, *target) for serial in each)
    todo = dict.fromkeys(clients, asked)
    begun()
    answered, refused, quiet = 0, 0, time.monotonic()
    while time.monotonic() - quiet < 3 and goes_on():
        busy = [one for one in clients if todo[one]]
        readable, writable, _ = select.select(clients, busy, [], 0.2)
        for one in writable:
            todo[one] = todo[one][one.send(todo[one][:4096]):]
        for one in readable:
            data = one.recv(65536)
            if not data:
                clients.remove(one)
                todo[one] = b""
            answered += data.count(mark)
            refused += data.count(b"org.freedesktop.DBus.Error.LimitsExceeded")
            quiet = time.monotonic()
    print(f"{count} calls, {answered} answered, {refused} refused", flush=True)


def names(count):
    name = struct.pack("<I", 4095) + b"x" * 4095 + b"\0"
    body = struct.pack("<I", count * len(name)) + name * count
    body = padded(body + struct.pack("<I", 0), 8)
    one = connected()
    one.setblocking(True)
    one.settimeout(20)
    one.sendall(call(2, OURS, b"/org/interlock/Interlock1", OURS + b".Manager", b"Submit", b"asa{sv}", body))
    answer = b""
    while b"Error" not in answer:
        data = one.recv(65536)
        if not data:
            break
        answer += data
    print(answer[-300:])


if __name__ == "__main__":
    KINDS = [gates, calls, metrics, objects, properties, introspect, names]
    {kind.__name__: kind for kind in KINDS}[sys.argv[1]](int(sys.argv[2]))
