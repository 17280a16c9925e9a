# @summary The shell command that asks the host's service manager for something.
# @param service
#   Name of the service.
# @param action
#   What it should do. `status` succeeds if the service runs.
# @return The command.
# @api private
function nats::service_command(String[1] $service, Enum['reload', 'restart', 'status'] $action) >> String {
  case [$nats::manager, $action] {
    ['systemd', 'status']: { "systemctl is-active --quiet ${service}" }
    ['systemd', default]: { "systemctl ${action} ${service}" }
    ['upstart', 'status']: { "initctl status ${service} | grep -q start/running" }
    ['upstart', default]: { "initctl ${action} ${service}" }
    # Puppet takes a missing program for an error.
    ['init', 'status']: { "test -x ${nats::init_dir}/${service} && ${nats::init_dir}/${service} status" }
    default: { "${nats::init_dir}/${service} ${action}" }
  }
}
