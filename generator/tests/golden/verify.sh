#!/bin/sh
# verify.sh GOLDEN UNITS: runs systemd-analyze verify over every expected tree.
#
# For a root with systemd, booted or not; GOLDEN is this directory and UNITS the directory of the unit files that
# interlock ships. Prints what systemd says, which must be nothing; exits 1 if it says anything.
set -u
golden=$1 units=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0

# Not `verify FILE` with a full path: systemd would then read the drop-ins of its own directories only.
for fixture in "$golden"/[0-9]*; do
    [ -d "$fixture/expected/normal" ] || continue
    # As a manager would see them: what the host has, what the generator made of it, what interlock ships.
    own="$fixture/root/usr/lib/systemd/system"
    SYSTEMD_UNIT_PATH="$fixture/expected/early:$own:$fixture/expected/normal:$work/units:/usr/lib/systemd/system"
    export SYSTEMD_UNIT_PATH
    rm -rf "$work/units"
    cp -r "$units" "$work/units"
    # Interlock's programs needn't be installed for the syntax to be right.
    sed -i 's|^ExecStart=/usr/libexec/[^ ]*|ExecStart=/usr/bin/true|' "$work"/units/*.service
    for path in "$fixture"/expected/normal/*; do
        name=${path##*/}
        case $name in
            *.wants) continue ;;
            *.d) name=${name%.d} ;;
        esac
        # A template is verified by an instance of it.
        case $name in *@.*) name=${name%%@.*}@some-instance.${name##*.} ;; esac
        # Neither need the programs of the fixtures be there.
        said=$(systemd-analyze verify --man=no "$name" 2>&1 |
            grep -v 'is not executable: No such file or directory$')
        if [ -n "$said" ]; then
            printf '%s: %s:\n%s\n' "${fixture##*/}" "$name" "$said"
            status=1
        fi
    done
done
exit $status
