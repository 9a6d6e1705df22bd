# Runs one container, and removes all of it when standard input ends: that is, when whoever started
# it is gone, however it went (a return, a panic, Ctrl-C, SIGKILL).
#
# usage: keeper DIR NAME ROOT   (in a mount namespace of its own)
# ROOT is left as it is; DIR/pid becomes the pid of the container's systemd, DIR/console what it prints.
set -u
dir=$1 name=$2 root=$3
trap '' INT TERM HUP

# Two containers in one cgroup delete each other's cgroups, so each gets its own, in every hierarchy
# that systemd uses: pure v2, hybrid's v2, and v1's name=systemd.
groups=()
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    groups+=("/sys/fs/cgroup/$name")
else
    for hierarchy in unified systemd; do
        [ -d "/sys/fs/cgroup/$hierarchy" ] && groups+=("/sys/fs/cgroup/$hierarchy/$name")
    done
fi

fail() {
    echo "$1" >"$dir/failed"
}

container() {
    local status inner
    while :; do
        (
            for group in "${groups[@]}"; do
                echo "$BASHPID" >"$group/cgroup.procs" || exit 1
            done
            SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --register=no --keep-unit \
                --private-network --resolv-conf=off --timezone=off --link-journal=no \
                -D "$dir/root" -M "$name" -b --console=pipe systemd.unit=multi-user.target
        ) </dev/null >>"$dir/console" 2>&1 &
        nspawn=$!
        inner=
        while [ -z "$inner" ] && kill -0 "$nspawn" 2>/dev/null; do
            # nspawn forks other children first, for a moment.
            for child in $(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null); do
                [[ $(readlink "/proc/$child/exe") = */systemd ]] && inner=$child
            done
            [ -n "$inner" ] || sleep 0.02
        done
        echo "$inner" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
        wait "$nspawn"
        status=$?
        # 133: the container asked for a reboot.
        [ "$status" -eq 133 ] || break
    done
    fail "systemd-nspawn ended with status $status: $(tail -n 5 "$dir/console")"
}

# Nobody removes a root that is in use.
exec 9<"$root.lock" && flock --shared 9
mkdir -p "$dir/root" "$dir/upper" "$dir/work" || exit 1
# "volatile" spares waiting for the disk. Where there can be no overlay (in a container whose own
# root is one), a copy does as well, only slower.
layers="lowerdir=$root,upperdir=$dir/upper,workdir=$dir/work,redirect_dir=on"
mount -t overlay overlay -o "$layers,volatile" "$dir/root" 2>/dev/null ||
    mount -t overlay overlay -o "$layers" "$dir/root" 2>/dev/null ||
    error=$(cp -a --reflink=auto "$root/." "$dir/root/" 2>&1) || fail "can't copy $root: $error"
for group in "${groups[@]}"; do
    error=$(mkdir -p "$group" 2>&1) || fail "can't make a cgroup for the container: $error"
done
[ ${#groups[@]} -gt 0 ] || fail "no cgroup hierarchy that systemd could use under /sys/fs/cgroup"
if [ ! -e "$dir/failed" ]; then
    container <&- 9<&- &
    loop=$!
fi

# Until whoever started this is gone.
cat >/dev/null

if [ -n "${loop:-}" ]; then
    # Not to be restarted: SIGKILL, as the trap is inherited.
    nspawns=$(cat "/proc/$loop/task/$loop/children" 2>/dev/null)
    kill -KILL "$loop" 2>/dev/null
    wait "$loop" 2>/dev/null
    for nspawn in $nspawns; do
        inner=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null)
        # shellcheck disable=SC2086 # several, or none
        kill -KILL $inner $nspawn 2>/dev/null
    done
fi
for group in "${groups[@]}"; do
    [ -d "$group" ] || continue
    for _ in $(seq 100); do
        # Whatever still is in there was started by the container or into it.
        find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$group" ] || break
        sleep 0.05
    done
done
umount "$dir/root" 2>/dev/null
rm -rf --one-file-system "$dir"
