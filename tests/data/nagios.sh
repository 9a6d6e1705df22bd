# nagios.sh DIR PLUGINS COMMANDS: a Nagios configuration in DIR of one host with two services of interlock. A unit of
# time is a second, so that it checks every second.
set -eu
dir=$1
mkdir -p "$dir/results"
cat >"$dir/nagios.cfg" <<END
cfg_file=$dir/objects.cfg
cfg_file=$3
resource_file=$dir/resource.cfg
log_file=$dir/nagios.log
object_cache_file=$dir/objects.cache
status_file=$dir/status.dat
state_retention_file=$dir/retention.dat
temp_file=$dir/tmp
temp_path=$dir
check_result_path=$dir/results
lock_file=$dir/lock
query_socket=$dir/nagios.qh
nagios_user=alice
nagios_group=alice
interval_length=1
status_update_interval=1
check_external_commands=0
use_syslog=0
illegal_macro_output_chars=\`~\$&|'"<>
END
echo "\$USER1\$=$2" >"$dir/resource.cfg"
cat >"$dir/objects.cfg" <<'END'
define timeperiod {
    timeperiod_name 24x7
    alias           always
    sunday          00:00-24:00
    monday          00:00-24:00
    tuesday         00:00-24:00
    wednesday       00:00-24:00
    thursday        00:00-24:00
    friday          00:00-24:00
    saturday        00:00-24:00
}
define command {
    command_name    up
    command_line    /bin/true
}
define contact {
    contact_name                  nobody
    host_notification_period      24x7
    service_notification_period   24x7
    host_notification_options     n
    service_notification_options  n
    host_notification_commands    up
    service_notification_commands up
}
define host {
    host_name           panel
    address             127.0.0.1
    check_command       up
    max_check_attempts  1
    check_period        24x7
    contacts            nobody
}
define service {
    use                 interlock-service
    host_name           panel
    service_description usual
    max_check_attempts  1
    contacts            nobody
}
define service {
    use                 interlock-service
    host_name           panel
    service_description nightly
    check_command       check_interlock!-w failed:nightly=1 -c failed:nightly=2
    max_check_attempts  1
    contacts            nobody
}
END
chown -R alice "$dir"
