#!/usr/bin/python3
# Holds a lock as a program would that knows nothing of interlock, and writes down when.
#
# usage: lock KIND PATH NAME          (until SIGTERM; SIGUSR1: gives it back and lives on)
#        lock rival-KIND PATH NAME    (takes it, never waiting, and gives it back again and again until SIGTERM;
#                                      prints how often, and fails if it was refused once)
#        lock free PATH               (fails if somebody has a lock of fcntl on it)
# KIND: posix, ofd, flock, read (a read lock of fcntl), or pidfile (with NAME as the process's name)
import fcntl, os, signal, struct, sys, time

OFD_SETLK = 37  # F_OFD_SETLK, of which Python 3.11 doesn't know the name


def note(what):
    with open("/var/lib/testbed/log", "a") as log:
        log.write(f"{time.time():.6f} {what} {name}\n")


def take(kind):
    if kind == "posix":
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif kind == "read":
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    elif kind == "flock":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif kind == "ofd":
        fcntl.fcntl(file, OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    elif kind == "pidfile":
        with open("/proc/self/comm", "w") as comm:
            comm.write(name)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()


def give_back(kind):
    if kind in ("posix", "read"):
        fcntl.lockf(file, fcntl.LOCK_UN)
    elif kind == "flock":
        fcntl.flock(file, fcntl.LOCK_UN)
    elif kind == "ofd":
        fcntl.fcntl(file, OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, 0, 0, 0, 0))
    elif kind == "pidfile":
        file.truncate(0)


kind, path = sys.argv[1:3]
name = (sys.argv + [""])[3]
file = open(path, "a+")
signals = {signal.SIGTERM, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
if kind == "free":
    take("posix")
elif kind.startswith("rival-"):
    kind = kind[len("rival-"):]
    note("begin")
    times = 0
    while not signal.sigpending() & signals:
        take(kind)
        give_back(kind)
        times += 1
    note("end")
    print(times)
else:
    take(kind)
    note("begin")
    while signal.sigwait(signals) != signal.SIGTERM:
        give_back(kind)
        note("end")
