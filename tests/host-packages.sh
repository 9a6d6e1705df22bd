#!/bin/bash
# Installs what building the RPM and running the testbed need on this host, by name, and says so.
set -eu
missing=()
# Each line: a command or file that must be there, and the Debian package that brings it.
while read -r what package; do
    case $what in
        /*) [ -e "$what" ] || missing+=("$package") ;;
        *) command -v "$what" >/dev/null || missing+=("$package") ;;
    esac
done <<'LIST'
systemd-nspawn systemd-container
systemd-analyze systemd
mmdebstrap mmdebstrap
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
rpmbuild rpm
createrepo_c createrepo-c
nsenter util-linux
tar tar
cc gcc
LIST
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "host-packages: this host lacks what these Debian packages bring, and has no apt-get: ${missing[*]}" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "host-packages: not root, so these packages can't be installed; please do: apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "host-packages: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# apt-get update doesn't wait for another one.
exec 9>/run/interlock-host-packages.lock
flock 9
log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    echo "host-packages: apt-get failed, see above" >&2
    exit 1
fi
rm -f "$log"
