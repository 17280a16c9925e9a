# @summary The broker's configuration. A change of it is reloaded.
# @api private
class nats::config {
  assert_private()

  # Files that are named replace those of the host's Puppet agent.
  $own_files = {
    'cert_file' => $nats::cert_file,
    'key_file'  => $nats::key_file,
    'ca_file'   => $nats::ca_file,
    'crl_file'  => $nats::crl_file,
  }
  $source = if $nats::is_agents {
    { 'puppet' => true, 'ssldir' => $nats::ssldir }
  } else {
    { 'verify' => true }
  }
  $tls = if $nats::enable_tls { $source + $own_files } else { {} }

  # Sensitive as a whole, so that a password that came as plain text is kept out of logs, too.
  $content = Sensitive(epp('nats/midge.conf.epp', {
    'server_name'         => $nats::fqdn,
    'listen_address'      => $nats::listen_address,
    'client_port'         => $nats::client_port,
    'monitor'             => $nats::monitor,
    'monitor_socket'      => $nats::monitor_socket,
    'debug'               => $nats::debug,
    'trace'               => $nats::trace,
    'limits'              => nats::settings({
      'max_payload'     => $nats::max_payload_size,
      'max_pending'     => $nats::max_pending_size,
      'max_connections' => $nats::max_connections,
      'write_deadline'  => $nats::write_deadline,
    }),
    'tls'                 => nats::settings($tls),
    'tls_timeout'         => $nats::tls_timeout,
    'cluster_name'        => $nats::cluster_name,
    'cluster_port'        => $nats::cluster_port,
    'announce_cluster'    => $nats::announce_cluster,
    'cluster_tls_timeout' => $nats::cluster_tls_timeout,
    'peers'               => $nats::peers,
    'srv_domain'          => $nats::srv_domain,
    'routes_password'     => $nats::routes_password.then |$secret| { unwrap($secret) },
    'federation'          => $nats::federation.then |$site| { unwrap($site) },
    'extra_config'        => $nats::extra_config.then |$secret| { unwrap($secret) },
  }))

  if $nats::ensure == 'present' {
    file {
      default:
        owner => 'root',
        group => $nats::run_group,
        ;
      $nats::configdir:
        ensure => directory,
        mode   => '0750',
        ;
      $nats::configfile:
        ensure       => file,
        mode         => '0640',
        content      => $content,
        validate_cmd => "${nats::binpath} -t -c %",
        notify       => Exec['nats reload'],
        ;
    }

    # Not a restart: clients stay connected. A broker that does not run reads the file at its
    # start.
    exec { 'nats reload':
      command     => nats::service_command($nats::service_name, 'reload'),
      onlyif      => nats::service_command($nats::service_name, 'status'),
      path        => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
      provider    => shell,
      refreshonly => true,
    }
  } else {
    file { $nats::configfile:
      ensure => absent,
    }

    # The folder may hold files of others.
    exec { "rmdir ${nats::configdir}":
      onlyif   => "test -d ${nats::configdir} && test -z \"\$(ls -A ${nats::configdir})\"",
      path     => ['/usr/bin', '/bin'],
      provider => shell,
      require  => File[$nats::configfile],
    }
  }
}
