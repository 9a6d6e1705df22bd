#!/bin/sh
# Deploys a git checkout while nothing of the group runs its code.
#
#     deploy.sh mediawiki /srv/mediawiki v1.46.0
#
# The user needs polkit's word for org.interlock.Interlock1.deploy (50-interlock.rules).
# Exit status: 0 deployed; 75 the group could not be brought to rest, nothing was done, try later;
# anything else: see what was said on standard error.
set -eu

group=$1 directory=$2 release=$3

# What can be done before is done before: the group is at rest for seconds, not minutes.
git -C "$directory" fetch --quiet origin "$release"

status=0
# The deployment ends with the command, whatever that does, and with this script, however that dies.
interlockctl deploy run --group "$group" --reason "release $release" --max-wait 5min -- \
    git -C "$directory" checkout --quiet --detach FETCH_HEAD || status=$?

case $status in
    0) echo "$release is deployed" ;;
    75) echo "$release is NOT deployed: $group did not come to rest in time" >&2 ;;
    *) echo "$release: failed with status $status; see: interlockctl deploy list --all" >&2 ;;
esac
exit "$status"
