# @summary The plugin nats of collectd.
# @api private
class nats::collectd {
  assert_private()

  $config = epp('nats/collectd.conf.epp', {
    'url'     => $nats::monitor_url,
    'options' => $nats::collectd_options,
  })

  if $nats::manage_package {
    package { $nats::collectd_package_name:
      ensure => $nats::packages_ensure,
    }
    $plugin = Package[$nats::collectd_package_name]
  } else {
    file { "${nats::collectd_plugin_dir}/nats.so":
      ensure => $nats::file_ensure,
      source => $nats::collectd_plugin_source,
      owner  => 'root',
      group  => 'root',
      mode   => '0644',
    }
    $plugin = File["${nats::collectd_plugin_dir}/nats.so"]

    nats::documents { 'collectd':
      manuals => ['collectd-nats.5'],
    }

    if $nats::ensure == 'present' {
      nats::needs { 'collectd':
        test   => "test -d ${nats::collectd_plugin_dir}",
        hint   => 'install its package (collectd; on Debian also collectd-core alone), or let puppet/collectd do it',
        before => $plugin,
      }
      # Whoever installs it in this catalog.
      Package <| title == 'collectd' or title == 'collectd-core' |> -> Nats::Needs['collectd']
    }
  }

  if defined('collectd::plugin') {
    # puppet/collectd writes the line LoadPlugin and restarts collectd.
    include collectd
    collectd::plugin { 'nats':
      ensure  => $nats::ensure,
      content => $config,
    }
    $loaded = Collectd::Plugin['nats']
    $restart = Class['collectd::service']
  } else {
    $file = "${nats::collectd_conf_dir}/nats.conf"
    file { $file:
      ensure  => $nats::file_ensure,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => "# Written by Puppet, module nats: changes made here are lost.\nLoadPlugin nats\n${config}",
    }
    exec { 'nats restart collectd':
      command     => nats::service_command('collectd', 'restart'),
      onlyif      => nats::service_command('collectd', 'status'),
      path        => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
      provider    => shell,
      refreshonly => true,
    }
    $loaded = File[$file]
    $restart = Exec['nats restart collectd']
  }

  # collectd does not start with a plugin that is missing.
  if $nats::ensure == 'present' {
    $plugin -> $loaded ~> $restart
    $plugin ~> $restart
  } else {
    $loaded ~> $restart -> $plugin
  }
}
