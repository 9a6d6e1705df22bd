#!/bin/bash
# What tasks run in a chaos run: each writes down what it does, in one line that is appended at once, so that the
# order of the lines is the order of the events.
#
# usage: chaos-task UNIT run SECONDS STATUS     works, and ends with this status; "flaky": at random 0 or 1;
#                                               "tries:X-N": fails the first N times, and then doesn't
#        chaos-task UNIT fork SECONDS STATUS    the same as a daemon that forks
#        chaos-task UNIT leave SECONDS STATUS   leaves a child behind, which works on for as long again
#        chaos-task UNIT reload SECONDS STATUS  works, and reloads what it has at SIGHUP
#        chaos-task UNIT tick SECONDS STATUS    writes meanwhile, twenty times a second, to see it stand still
#        chaos-task UNIT post                   ExecStopPost=
#        chaos-task GROUP deploy SECONDS        the command of a deployment
unit=$1 mode=$2 span=${3:-0} status=${4:-0}
who="$unit ${INVOCATION_ID:-none}"
note() { echo "$EPOCHREALTIME $*" >>/var/lib/testbed/chaos.log; }
# Nobody writes into it: to wait without a child process that would have to be stopped, too.
exec 3<>/run/testbed/chaos.fifo
pause() { read -rt "$1" -u 3; }
case $mode in
post)
    note post "$who" "${SERVICE_RESULT-}" "${EXIT_STATUS-}"
    exit 0
    ;;
deploy)
    note ready "$unit" $$
    pause "$span"
    note over "$unit" $$
    exit 0
    ;;
fork)
    # Its first child is what systemd takes for the service; it must have begun when this exits.
    exec 4< <("$0" "$unit" run "$span" "$status" 9>&1)
    read -r -u 4
    exit 0
    ;;
esac
trap 'note end "$who" TERM; trap - TERM; kill -TERM $$' TERM
trap 'note end "$who" checkpoint; exit 0' USR1
[ "$mode" != reload ] || trap 'systemd-notify --reloading 2>/dev/null; systemd-notify --ready' HUP
note begin "$who"
# To whoever forked this.
{ echo begun >&9; exec 9>&- >/dev/null; } 2>/dev/null
if [ "$mode" = leave ]; then
    (
        who="$unit+child ${INVOCATION_ID:-none}"
        trap 'note end "$who" TERM; exit 0' TERM
        trap - USR1
        note begin "$who"
        pause "$span"
        pause "$span"
        note end "$who" 0
    ) &
fi
deadline=$((${EPOCHREALTIME/./} + $(printf '%.0f' "${span}e6")))
while now=${EPOCHREALTIME/./} && ((now < deadline)); do
    left=$((deadline - now))
    ((left < 500000)) || left=500000
    [ "$mode" != tick ] || { note tick "$who"; left=50000; }
    pause "$((left / 1000000)).$(printf %06d $((left % 1000000)))"
done
case $status in
flaky) status=$((RANDOM % 3 == 0)) ;;
tries:*)
    # Counted before it fails: a failure is one however it is looked at.
    echo >>"/var/lib/testbed/tries.$unit"
    (($(wc -l <"/var/lib/testbed/tries.$unit") > ${status##*-})) && status=0 || status=75
    ;;
esac
note end "$who" "$status"
exit "$status"
