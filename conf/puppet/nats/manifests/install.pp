# @summary The program, its user, the files of the service manager, manuals.
# @api private
class nats::install {
  assert_private()

  # What a change of the program, and of what the service starts with, entails.
  [$upgrade, $restart] = $nats::ensure ? {
    'present' => [Exec['nats upgrade'], Service[$nats::service_name]],
    default   => [[], []],
  }

  if $nats::manage_package {
    package { $nats::package_name:
      ensure => $nats::packages_ensure,
      notify => $upgrade,
    }
  } else {
    file {
      default:
        ensure => $nats::file_ensure,
        owner  => 'root',
        group  => 'root',
        mode   => '0755',
        ;
      $nats::binpath:
        source => $nats::binary_source,
        notify => $upgrade,
        ;
      $nats::top_path:
        source => $nats::top_source,
        ;
    }

    nats::documents { 'midge':
      manuals     => ['midge.8', 'midge.conf.5', 'midge-top.1'],
      completions => ['midge', 'midge-top'],
    }

    $logrotate = file('nats/midge.logrotate')
      .regsubst('/usr/sbin/midge', $nats::binpath, 'G')
      .regsubst('su midge midge', "su ${nats::run_user} ${nats::run_group}")
    file { "${nats::logrotate_dir}/midge":
      ensure  => $nats::file_ensure,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => $logrotate,
    }
    nats::folder($nats::logrotate_dir, "${nats::logrotate_dir}/midge")
  }

  if $nats::manage_group and $nats::run_group != 'root' {
    group { $nats::run_group:
      ensure => $nats::ensure,
      system => true,
      notify => $restart,
    }
  }

  if $nats::manage_user and $nats::run_user != 'root' {
    user { $nats::run_user:
      ensure => $nats::ensure,
      system => true,
      gid    => $nats::run_group,
      groups => [$nats::key_group].filter |$group| { $group =~ NotUndef },
      home   => '/nonexistent',
      shell  => $nats::nologin,
      notify => $restart,
    }
  }

  # A group that is the first one of a user cannot be removed.
  if $nats::ensure == 'absent' {
    User <| title == $nats::run_user |> -> Group <| title == $nats::run_group |>
  }

  # The service's file is the same on every host, and comes with the package if there is one.
  # What differs is in a second file beside it.
  $service = $nats::service_name
  [$service_file, $source, $mode, $settings_file] = $nats::manager ? {
    'systemd' => [
      "${nats::unit_dir}/${service}.service",
      'midge.service',
      '0644',
      "${nats::unit_dir}/${service}.service.d/puppet.conf",
    ],
    'upstart' => [
      "${nats::upstart_dir}/${service}.conf",
      'midge.upstart',
      '0644',
      "${nats::upstart_dir}/${service}.override",
    ],
    default   => [
      "${nats::init_dir}/${service}",
      'midge.init',
      '0755',
      "${nats::defaults_dir}/${service}",
    ],
  }

  file { $settings_file:
    ensure  => $nats::file_ensure,
    owner   => 'root',
    group   => 'root',
    mode    => '0644',
    notify  => $restart,
    content => epp("nats/${nats::manager}.epp", {
      'binpath'        => $nats::binpath,
      'configfile'     => $nats::configfile,
      'user'           => $nats::run_user,
      'group'          => $nats::run_group,
      'pidfile'        => "${nats::piddir}/${service}.pid",
      'limit_nofile'   => $nats::limit_nofile,
      'start_settings' => $nats::start_settings,
    }),
  }

  unless $nats::manage_package {
    file { $service_file:
      ensure  => $nats::file_ensure,
      owner   => 'root',
      group   => 'root',
      mode    => $mode,
      notify  => $restart,
      content => file("nats/${source}"),
    }
  }

  if $nats::manager == 'systemd' {
    file { "${service_file}.d":
      ensure => $nats::folder_ensure,
      force  => true,
      owner  => 'root',
      group  => 'root',
      mode   => '0755',
    }

    # Puppet's provider does this before a start and a restart, but not after a removal.
    exec { 'nats daemon-reload':
      command     => 'systemctl daemon-reload',
      path        => ['/usr/bin', '/bin'],
      refreshonly => true,
      subscribe   => File[$settings_file, "${service_file}.d"],
    }
  }
}
