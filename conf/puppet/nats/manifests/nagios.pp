# @summary Commands for NRPE that check the broker.
# @api private
class nats::nagios {
  assert_private()

  $program = "${nats::nagios_plugin_dir}/check_nats"
  $file = "${nats::nrpe_conf_dir}/nats.cfg"
  $sudoers_file = "${nats::sudoers_dir}/nats"

  # A check of the client port shows a certificate, whose key the broker's user may read.
  $files = {
    'ssldir' => if $nats::is_agents { $nats::ssldir },
    'cert'   => $nats::cert_file,
    'key'    => $nats::key_file,
    'cacert' => $nats::ca_file,
    'crl'    => $nats::crl_file,
  }.filter |$option, $path| { $path =~ NotUndef }
  $agents = if $nats::is_agents { ['--puppet'] } else { [] }
  $options = $agents + $files.map |$option, $path| { "--${option} ${path}" }
  $check = "${program} -u ${nats::monitor_url}"
  $health = if $nats::enable_tls { ([$check] + $options).join(' ') } else { $check }
  $prefix = if $nats::enable_tls { "/usr/bin/sudo -n -u ${nats::run_user} " } else { '' }

  if $nats::manage_package {
    package { $nats::check_package_name:
      ensure => $nats::packages_ensure,
    }
  } else {
    file { $program:
      ensure => $nats::file_ensure,
      source => $nats::check_source,
      owner  => 'root',
      group  => 'root',
      mode   => '0755',
    }

    nats::folder($nats::nagios_plugin_dir, $program)

    nats::documents { 'check_nats':
      manuals     => ['check_nats.1'],
      completions => ['check_nats'],
    }
  }

  if $nats::ensure == 'present' {
    nats::needs { 'NRPE':
      test => "test -d ${nats::nrpe_conf_dir} && id ${nats::nrpe_user}",
      hint => 'install its package (nagios-nrpe-server on Debian, nrpe on RedHat)',
    }
    # Whoever installs them in this catalog.
    Package <| title == 'nagios-nrpe-server' or title == 'nrpe' |> -> Nats::Needs['NRPE']
    Nats::Needs['NRPE'] -> File[$file, $nats::nrpe_state_dir]
    unless $nats::manage_package {
      Nats::Needs['NRPE'] -> File[$program]
    }
    if $nats::enable_tls {
      nats::needs { 'sudo':
        test   => 'test -x /usr/bin/sudo',
        hint   => 'install its package; check_nats runs with it as the user who may read the key of the certificate',
        before => File[$file, $sudoers_file],
      }
      Package <| title == 'sudo' |> -> Nats::Needs['sudo']
    }
  }

  file { $file:
    ensure  => $nats::file_ensure,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    content => epp('nats/nrpe.cfg.epp', {
      'health'    => "${prefix}${health}",
      'check'     => $check,
      'state_dir' => $nats::nrpe_state_dir,
      'members'   => $nats::servers.length,
    }),
    notify  => Exec['nats restart nrpe'],
  }

  file { $nats::nrpe_state_dir:
    ensure  => $nats::folder_ensure,
    owner   => $nats::nrpe_user,
    mode    => '0700',
    recurse => $nats::ensure == 'absent',
    force   => true,
  }

  if $nats::enable_tls {
    file { $sudoers_file:
      ensure       => $nats::file_ensure,
      owner        => 'root',
      group        => 'root',
      mode         => '0440',
      content      => epp('nats/sudoers.epp', {
        'nrpe_user' => $nats::nrpe_user,
        'run_user'  => $nats::run_user,
        'command'   => $health,
      }),
      validate_cmd => '/usr/sbin/visudo -cf %',
    }
  }

  exec { 'nats restart nrpe':
    command     => nats::service_command($nats::nrpe_service, 'restart'),
    onlyif      => nats::service_command($nats::nrpe_service, 'status'),
    path        => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    provider    => shell,
    refreshonly => true,
  }
}
