#!/usr/bin/python3
# Owns a name on the system bus and becomes another program, which has it until it ends: for tasks of Type=dbus.
#
# usage: own NAME PROGRAM ARGUMENT...
#
# The program begins when PID 1 knows that somebody has the name, so that it may end at once. While the bus restarts
# it is tried again.
import os, socket, struct, sys, time

name, program = sys.argv[1], sys.argv[2:]
# None of those that the program uses itself.
FD = 20
PATIENCE = 60


def text(value):
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def padded(data):
    return data + b"\0" * (-len(data) % 8)


def call(bus, serial, destination, path, interface, member, signature="", body=b""):
    """Calls, and gives the reply's body."""
    fields = b""
    for code, kind, value in [(1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination)]:
        fields = padded(fields) + bytes([code, 1, ord(kind), 0]) + text(value)
    if signature:
        fields = padded(fields) + bytes([8, 1, ord("g"), 0, len(signature)]) + signature.encode() + b"\0"
    bus.sendall(padded(struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), serial, len(fields)) + fields) + body)
    while True:
        order, kind, _, _, size, _, length = struct.unpack("<cBBBIII", read(bus, 16))
        assert order == b"l"
        body = read(bus, length + -length % 8 + size)[length + -length % 8:]
        # Replies alone: signals come as well.
        if kind in (2, 3):
            assert kind == 2, body
            return body


def read(bus, size):
    data = b""
    while len(data) < size:
        more = bus.recv(size - len(data))
        assert more, "the bus is gone"
        data += more
    return data


def own():
    bus = socket.socket(socket.AF_UNIX)
    bus.settimeout(5)
    bus.connect("/run/dbus/system_bus_socket")
    bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    answer = b""
    while not answer.endswith(b"\r\n"):
        answer += read(bus, 1)
    assert answer.startswith(b"OK"), answer
    bus.sendall(b"BEGIN\r\n")
    driver = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    call(bus, 1, *driver, "Hello")
    # Not queued behind who may still have it.
    answer = call(bus, 2, *driver, "RequestName", "su", text(name) + b"\0" * (-len(text(name)) % 4) + struct.pack("<I", 4))
    assert struct.unpack("<I", answer)[0] in (1, 4), answer
    # It gets this after the signal that the name has an owner.
    call(bus, 3, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.DBus.Peer", "Ping")
    return bus


end = time.monotonic() + PATIENCE
while True:
    try:
        bus = own()
        break
    except (AssertionError, OSError) as error:
        if time.monotonic() > end:
            raise
        print("not yet:", error, file=sys.stderr)
        time.sleep(0.1)
bus.setblocking(True)
os.dup2(bus.fileno(), FD, inheritable=True)
os.execv(program[0], program)
