# @summary The broker's service. It hands over to a new program, and is restarted for other files.
# @api private
class nats::service {
  assert_private()

  if $nats::ensure == 'present' {
    service { $nats::service_name:
      ensure => $nats::service_ensure,
      enable => true,
    }

    # Not a restart: clients are not refused, and those of a single broker keep their connections.
    exec { 'nats upgrade':
      command     => nats::service_command($nats::service_name, 'upgrade'),
      onlyif      => nats::service_command($nats::service_name, 'status'),
      path        => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
      provider    => shell,
      logoutput   => true,
      refreshonly => true,
      require     => Service[$nats::service_name],
    }

    # The broker of the first version of this module holds the same ports. Its files stay, as
    # the way back.
    if $facts.dig('nats', 'gnatsd') and $nats::service_name != 'gnatsd' {
      service { 'gnatsd':
        ensure => stopped,
        enable => false,
        before => Service[$nats::service_name],
      }
    }
  } else {
    service { $nats::service_name:
      ensure => stopped,
      enable => false,
    }
  }
}
