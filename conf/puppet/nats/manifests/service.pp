# @summary The broker's service. It is restarted when its program or the service's files change.
# @api private
class nats::service {
  assert_private()

  if $nats::ensure == 'present' {
    service { $nats::service_name:
      ensure => $nats::service_ensure,
      enable => true,
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
