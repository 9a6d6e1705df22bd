"""Fills the state database with a year of runs, of twenty tasks with two hundred units each.

usage: million_runs.py DATABASE RUNS    (interlockd must have made it, and be stopped)
"""
import sqlite3
import sys
import time

path, runs = sys.argv[1], int(sys.argv[2])
now = int(time.time() * 1e6)
step = 365 * 86_400_000_000 // runs


def rows():
    for number in range(runs):
        task = f"bench-{number % 20}"
        unit = f"{task}@{number // 20 % 200}.service"
        ended = now - (runs - number) * step
        length = 1_000_000 + number * 7919 % 600_000_000
        failed = number % 50 == 0
        yield (
            task, unit, "0123456789abcdef0123456789abcdef", ended - length - 5_000, ended - length, ended - length,
            ended, "exit-code" if failed else "success", failed, 1 if failed else 0, f"{number:032x}",
            f"{number % 300:012x}" if failed else "", "given up after 3 attempts" if failed else "",
        )


database = sqlite3.connect(path)
with database:
    database.executemany(
        "INSERT INTO runs (task, unit, boot, asked, granted, started, ended, result, failed, exit_status,"
        " invocation, signature, verdict, pending) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        rows(),
    )
    database.execute(
        "INSERT OR IGNORE INTO standings (unit, task, runs, run, granted, started, ended, result)"
        " SELECT unit, task, count(*), max(id), max(granted), max(started), max(ended), 'success'"
        " FROM runs WHERE task LIKE 'bench-%' GROUP BY unit"
    )
database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
database.close()
