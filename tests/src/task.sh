#!/bin/bash
# What test tasks run: writes down when it begins and ends, and in between waits to be released.
#
# usage: task NAME hold|count|SECONDS [STATUS]
#        task NAME begin|end               (only writes that down)
# One line each into the log: TIME begin|end NAME. The lines' order is the order of the events, whatever
# the clock says, since each is written before the process goes on.
# "count" is "hold", and meanwhile writes TIME NUMBER into a file of its own, fifty times a second.
# SIGUSR1 is its word for a checkpoint: it ends by itself, and well.
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
trap 'note end; exit 0' USR1
trap 'resumed=yes' CONT
# What a deployment tells a run that it started again.
[ -z "${INTERLOCK_RESUME-}" ] || echo "$name $INTERLOCK_RESUME ${INTERLOCK_DEPLOYMENT-}" >>/var/lib/testbed/resumed
note begin
counter=
[ "$span" = count ] && counter=0
case $span in hold | count) span=300 ;; esac
deadline=${EPOCHREALTIME/./}
deadline=$((deadline + $(printf '%.0f' "${span}e6")))
while now=${EPOCHREALTIME/./} && ((now < deadline)); do
    left=$((deadline - now))
    # A signal that comes just before the wait is only seen after it.
    ((left < 500000)) || left=500000
    if [ -n "$counter" ]; then
        echo "$EPOCHREALTIME $counter" >>"/var/lib/testbed/count.$name"
        counter=$((counter + 1)) left=20000
    fi
    # Neither that nor a signal whose trap doesn't exit ends the task.
    read -r -t "$((left / 1000000)).$(printf %06d $((left % 1000000)))" -u 3 && break
done
note end
exit "$status"
