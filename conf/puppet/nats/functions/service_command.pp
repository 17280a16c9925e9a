# @summary The shell command that asks the host's service manager for something.
# @param service
#   Name of the service.
# @param action
#   What it should do. `status` succeeds if the service runs. `upgrade` is for the broker alone: it
#   hands over to the program that is installed, or is restarted where it cannot; one that runs this
#   program already is left alone.
# @return The command.
# @api private
function nats::service_command(String[1] $service, Enum['reload', 'restart', 'status', 'upgrade'] $action) >> String {
  case [$nats::manager, $action] {
    ['systemd', 'upgrade']: {
      @("COMMAND"/L$)
        pid=\$(systemctl show -p MainPID ${service} | cut -d= -f2); \
        [ "/proc/\$pid/exe" -ef ${nats::binpath} ] || ${nats::binpath} --signal "upgrade=\$pid" || \
        { echo 'no upgrade without a gap: the broker is restarted'; systemctl restart ${service}; }
        |- COMMAND
    }
    # It watches the process that it has started.
    ['upstart', 'upgrade']: {
      @("COMMAND"/L$)
        pid=\$(initctl status ${service} | sed -n 's/.*process //p'); \
        [ "/proc/\$pid/exe" -ef ${nats::binpath} ] || \
        { echo 'no upgrade without a gap: the broker is restarted'; initctl restart ${service}; }
        |- COMMAND
    }
    ['init', 'upgrade']: { "${nats::init_dir}/${service} try-upgrade" }
    ['systemd', 'status']: { "systemctl is-active --quiet ${service}" }
    ['systemd', default]: { "systemctl ${action} ${service}" }
    ['upstart', 'status']: { "initctl status ${service} | grep -q start/running" }
    ['upstart', default]: { "initctl ${action} ${service}" }
    # Puppet takes a missing program for an error.
    ['init', 'status']: { "test -x ${nats::init_dir}/${service} && ${nats::init_dir}/${service} status" }
    default: { "${nats::init_dir}/${service} ${action}" }
  }
}
