#!/bin/bash
# What test tasks run: writes down when it begins and ends, and in between waits to be released.
#
# usage: task NAME hold|SECONDS [STATUS]
#        task NAME begin|end               (only writes that down)
# One line each into the log: TIME begin|end NAME. The lines' order is the order of the events, whatever
# the clock says, since each is written before the process goes on.
name=$1 span=$2 status=${3:-0}
note() { echo "$EPOCHREALTIME $1 $name" >>/var/lib/testbed/log; }
case $span in begin | end) note "$span"; exit 0 ;; esac
fifo=/run/testbed/$name
mkdir -p /run/testbed
[ -p "$fifo" ] || mkfifo "$fifo" 2>/dev/null
# Both ends, so that neither opening nor an absent writer matters; no child process is needed to wait.
exec 3<>"$fifo"
# As if it had no trap, so that systemd sees the signal.
trap 'note end; trap - TERM; kill -TERM $$' TERM
trap 'note end; trap - INT; kill -INT $$' INT
trap 'resumed=yes' CONT
note begin
[ "$span" = hold ] && span=300
deadline=${EPOCHREALTIME/./}
deadline=$((deadline + $(printf '%.0f' "${span}e6")))
while now=${EPOCHREALTIME/./} && ((now < deadline)); do
    left=$((deadline - now))
    # A signal without a trap that exits interrupts the wait, but doesn't end it.
    read -r -t "$((left / 1000000)).$(printf %06d $((left % 1000000)))" -u 3 && break
done
note end
exit "$status"
