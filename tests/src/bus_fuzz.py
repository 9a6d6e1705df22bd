#!/usr/bin/python3
# Calls interlock's D-Bus methods at random, with what they ask for and with what they don't.
#
# usage: bus_fuzz SEED CALLS NAME...
#
# The methods are those of the introspection. NAMEs (tasks, units, groups, resources) are among the strings. Messages are
# written here, so that no library refuses them first. Prints how many calls were answered, and how; fails if interlockd
# is gone, or a call that can't wait isn't answered.
import collections, os, random, re, select, socket, struct, sys, time

seed, calls, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
rng = random.Random(seed)
NAME, ROOT = "org.interlock.Interlock1", "/org/interlock/Interlock1"
# So long a call may take, seconds; a policy is reloaded in that time.
PATIENCE = 25

HOSTILE = [
    "", " ", "\n", "a\nb", "\t", "\x01", "\x7f", "\x1b[2J", "%", "%n", "%i", "$HOME", "${X}", ";", "'", '"', "\\", "\\x20",
    "--", "-1", "0", "../../etc/passwd", "/", "//", "a/b", "*", "?", "[a]", "é", "漢字🚂", "\u202e", "\ufeff", "\ufdd0",
    "a@", "@", "@.service", "a@b@c", ".service", "a.service.d", "x" * 300, "y" * 5000, "first", "last", "priority=1",
    "true", "null", "1e309", "99999999999999999999", "10min", "18446744073709551615s", "infinity", "'; DROP TABLE queue; --",
    "transient", "permanent", "prometheus", "failed=1:2", "all", "{}", "queued", "running",
]
OPTIONS = ["max-wait", "expires", "after-transaction", "priority", "batch", "task", "tasks", "since", "until", "failed",
           "slower-than", "limit", "state", "all", "ignore", "json", "reason", "skip-next", "for", "spared", "user"]
EDGES = [0, 1, 2, 7, 127, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
FIXED = {"y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4), "x": ("q", 8), "t": ("Q", 8),
         "d": ("d", 8)}


def text():
    word = rng.choice(names + HOSTILE) if rng.random() < 0.9 else "".join(chr(rng.randrange(1, 0x250)) for _ in range(rng.randrange(20)))
    if rng.random() < 0.15:
        word += rng.choice(["@", "@", ".", ""]) + rng.choice(HOSTILE + names)
    return word.replace("\0", "")


def split(signature):
    """The complete types of a signature."""
    types, at = [], 0
    while at < len(signature):
        end = at
        while signature[end] == "a":
            end += 1
        if signature[end] in "({":
            depth = 0
            while True:
                depth += (signature[end] in "({") - (signature[end] in ")}")
                if depth == 0:
                    break
                end += 1
        types.append(signature[at:end + 1])
        at = end + 1
    return types


def align(size):
    return {"a": 4, "(": 8, "{": 8, "s": 4, "o": 4, "g": 1, "v": 1}.get(size[0]) or FIXED[size[0]][1]


class Body:
    def __init__(self):
        self.data = bytearray()

    def pad(self, size):
        self.data += b"\0" * (-len(self.data) % size)

    def put(self, kind, value):
        self.pad(align(kind))
        if kind in FIXED:
            self.data += struct.pack("<" + FIXED[kind][0], value)
        elif kind in "so":
            raw = value.encode()
            self.data += struct.pack("<I", len(raw)) + raw + b"\0"
        elif kind == "g":
            self.data += bytes([len(value)]) + value.encode() + b"\0"
        elif kind == "v":
            self.put("g", value[0])
            self.put(value[0], value[1])
        elif kind[0] == "a":
            at = len(self.data)
            self.data += b"\0\0\0\0"
            self.pad(align(kind[1:]))
            begin = len(self.data)
            for item in value:
                self.put(kind[1:], item)
            struct.pack_into("<I", self.data, at, len(self.data) - begin)
        else:
            for part, item in zip(split(kind[1:-1]), value):
                self.put(part, item)


def value(kind, depth=0):
    if kind == "b":
        return rng.randrange(2)
    if kind == "d":
        return rng.choice([0.0, -1.0, float("inf"), float("nan"), 1e300])
    if kind in FIXED:
        code, size = FIXED[kind]
        low, high = (-2**(8 * size - 1), 2**(8 * size - 1) - 1) if code in "hiq" else (0, 2**(8 * size) - 1)
        return max(low, min(high, rng.choice(EDGES) * rng.choice([1, 1, -1])))
    if kind == "s":
        return text()
    if kind == "o":
        return rng.choice(["/", ROOT, ROOT + "/task/x", "/org/freedesktop/systemd1"])
    if kind == "g":
        return "s"
    if kind == "v":
        inner = rng.choice(["s", "s", "t", "u", "i", "b", "x", "d", "as", "a{sv}", "(su)"]) if depth < 3 else "s"
        return inner, value(inner, depth + 1)
    if kind == "a{sv}":
        keys = {rng.choice(OPTIONS) if rng.random() < 0.85 else text() for _ in range(rng.choice([0, 0, 1, 1, 2, 5]))}
        return [(key, value("v", depth + 1)) for key in sorted(keys)]
    if kind[0] == "a":
        return [value(kind[1:], depth + 1) for _ in range(rng.choice([0, 1, 1, 2, 3, 40 if depth == 0 else 2]))]
    return tuple(value(part, depth + 1) for part in split(kind[1:-1]))


class Bus:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/run/dbus/system_bus_socket")
        self.socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert self.socket.recv(4096).startswith(b"OK")
        self.socket.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        assert self.socket.recv(4096).startswith(b"AGREE")
        self.socket.sendall(b"BEGIN\r\n")
        self.serial, self.buffer, self.holders = 0, b"", []
        self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")

    def send(self, destination, path, interface, member, signature="", args=()):
        self.serial += 1
        body = Body()
        for kind, item in zip(split(signature), args):
            body.put(kind, item)
        fields = [(1, ("o", path)), (3, ("s", member)), (6, ("s", destination))]
        if interface:
            fields.append((2, ("s", interface)))
        if signature:
            fields.append((8, ("g", signature)))
        head = Body()
        head.data += struct.pack("<cBBBII", b"l", 1, 0, 1, len(body.data), self.serial)
        head.put("a(yv)", fields)
        head.pad(8)
        self.socket.sendall(bytes(head.data) + bytes(body.data))
        return self.serial

    def receive(self, until):
        """The next message: type, whose reply, error's name, body."""
        while True:
            if len(self.buffer) >= 16:
                length, _, fields = struct.unpack_from("<III", self.buffer, 4)
                header = 16 + fields + (-fields % 8)
                if len(self.buffer) >= header + length:
                    whole, self.buffer = self.buffer[:header + length], self.buffer[header + length:]
                    return self.read(whole, header, fields)
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 16)
            self.holders += fds
            if not data:
                raise SystemExit("the bus has closed the connection")
            self.buffer += data

    @staticmethod
    def read(whole, header, fields):
        at, reply, error, end = 16, None, "", 16 + fields
        while at < end:
            at += -at % 8
            if at >= end:
                break
            code, kind = whole[at], chr(whole[at + 2])
            at += 4
            if kind == "u":
                at += -at % 4
                number = struct.unpack_from("<I", whole, at)[0]
                reply, at = (number if code == 5 else reply), at + 4
            elif kind == "g":
                at += whole[at] + 2
            else:
                at += -at % 4
                size = struct.unpack_from("<I", whole, at)[0]
                error = whole[at + 4:at + 4 + size].decode() if code == 4 else error
                at += 4 + size + 1
        return whole[1], reply, error, whole[header:]

    def call(self, *message, patience=PATIENCE):
        serial, until = self.send(*message), time.monotonic() + patience
        while True:
            got = self.receive(until)
            if got is None:
                return None
            if got[1] == serial and got[0] in (2, 3):
                return got[2], got[3]


def methods(bus, path):
    """Interface, method, signature of what goes in."""
    error, body = bus.call(NAME, path, "org.freedesktop.DBus.Introspectable", "Introspect")
    assert not error, error
    xml = body[4:].decode()
    for interface in re.finditer(r'<interface name="([^"]+)">(.*?)</interface>', xml, re.S):
        for method in re.finditer(r'<method name="([^"]+)"(?:/>|>(.*?)</method>)', interface[2], re.S):
            into = re.findall(r"<arg [^>]*>", method[2] or "")
            into = [re.search(r'type="([^"]+)"', arg)[1] for arg in into if 'direction="in"' in arg]
            yield interface[1], method[1], "".join(into)


bus = Bus()
paths = [ROOT]
known = {ROOT: list(methods(bus, ROOT))}
assert any(member == "BeginDeployment" for _, member, _ in known[ROOT]), known
told, slowest = collections.Counter(), (0, "")
for number in range(calls):
    if number % 50 == 0:
        # Tasks and deployments that are there now.
        _, body = bus.call(NAME, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        found = {path.decode() for path in re.findall(rb"/org/interlock/Interlock1/[a-z]+/\w+", body)}
        paths = [ROOT] * 3 + rng.sample(sorted(found), min(6, len(found)))
        for path in paths:
            if path not in known:
                known[path] = list(methods(bus, path))
        # What it holds lives only so long.
        for fd in bus.holders:
            os.close(fd)
        bus.holders = []
    path = rng.choice(paths)
    if not known[path]:
        continue
    interface, member, signature = rng.choice(known[path])
    if member == "Reload" and rng.random() < 0.9:
        continue
    if rng.random() < 0.06:
        signature = "".join(rng.choice(["s", "u", "as", "a{sv}", "v", "t", "a(su)"]) for _ in range(rng.randrange(4)))
    if interface == "org.freedesktop.DBus.Properties" and rng.random() < 0.7:
        interface_named = NAME + "." + rng.choice(["Manager", "Task", "Deployment", "Queue", "History", "Monitor"])
        args = [interface_named] + [value(kind) for kind in split(signature)[1:]]
        args = args[:len(split(signature))] if split(signature)[:1] == ["s"] else [value(kind) for kind in split(signature)]
    else:
        args = [value(kind) for kind in split(signature)]
    # These wait for as long as it takes.
    waits = member in ("WaitReady", "WaitBatch")
    began = time.monotonic()
    answer = bus.call(NAME, path, interface if rng.random() < 0.97 else "", member, signature, args, patience=0.05 if waits else PATIENCE)
    took = time.monotonic() - began
    if not waits:
        slowest = max(slowest, (took, member))
    if answer is None:
        if not waits:
            raise SystemExit(f"{member} {signature} {args!r} was not answered within {PATIENCE} s")
        told["(waits)"] += 1
        continue
    error = answer[0]
    told[error or "answered"] += 1
    if error in ("org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"):
        raise SystemExit(f"interlockd is gone after {member} {signature} {args!r}: {error}")
print(f"{calls} calls, seed {seed}, slowest {slowest[0]:.3f} s ({slowest[1]}): " + ", ".join(f"{name.rsplit('.', 1)[-1]} {count}" for name, count in told.most_common()))
