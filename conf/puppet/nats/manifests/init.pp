# @summary A NATS broker: midge alone on a host, or as a member of a mesh.
#
# The parameters of the first version of this module, for gnatsd, have the same names, types
# and meaning. README.md says which defaults changed.
#
# @example A single broker, with the certificates of the host's Puppet agent
#   include nats
#
# @example A mesh; the same on each host. A host that is not in the list gets nothing
#   class { 'nats':
#     servers         => ['nats1.example.net', 'nats2.example.net', 'nats3.example.net'],
#     routes_password => Sensitive('S3cret'),
#     manage_collectd => true,
#   }
#
# @example A mesh whose members are found by DNS: the SRV record _mcollective-broker._tcp.example.net
#   class { 'nats':
#     srv_domain      => 'example.net',
#     routes_password => Sensitive('S3cret'),
#   }
#
# @example The federation broker of a site, on each broker of it
#   class { 'nats':
#     federation => {
#       'name'     => 'prod',
#       'upstream' => ['srv://_mcollective-federation_server._tcp.example.net'],
#     },
#   }
#
# @example Keys of midge.conf that have no parameter
#   class { 'nats':
#     extra_config => Sensitive("authorization { token: \"S3cret\" }\n"),
#   }
#
# @param ensure
#   `absent` stops the broker and removes what the other parameters say is managed.
# @param servers
#   The members of the mesh, by the fact `networking.fqdn`. Empty: a single broker.
# @param srv_domain
#   Domain whose DNS lists the members of the mesh, in place of `servers`: the SRV record
#   `_mcollective-broker._tcp` with `cluster_port` as its port. Each host with this class is a
#   member.
# @param routes_password
#   The password that the members show each other. A mesh needs one.
# @param cluster_name
#   Name of the mesh, the same at each member.
# @param listen_address
#   Address on which the broker listens for clients and for other members; `::` is every
#   address, of IPv4 too.
# @param client_port
#   Port for clients.
# @param cluster_port
#   Port for the other members, the same at each member.
# @param monitor_address
#   Address of the monitoring port. Give the port a login before other hosts can reach it.
# @param monitor_port
#   Port for monitoring, by HTTP.
# @param announce_cluster
#   Whether clients learn the addresses of the other members.
# @param max_payload_size
#   Bytes that a message may have; the broker's default if not set.
# @param max_pending_size
#   Bytes that may wait for one connection; the broker's default if not set.
# @param max_connections
#   Number of clients; the broker's default if not set.
# @param write_deadline
#   For how long a connection may take nothing, such as `10s`; the broker's default if not set.
# @param debug
#   Whether debug lines are logged.
# @param trace
#   Whether each message is logged.
# @param extra_config
#   More keys for midge.conf, in its own language.
# @param federation
#   Makes the broker the federation broker of its site: the site's `name`, the `upstream` brokers as
#   `nats://`, `tls://` or `srv://`, and if need be `collectives`, the nodes' `account`, and the
#   `nameserver` for SRV records. With `enable_tls` the upstream brokers must have TLS; the same
#   files are used. Sensitive if a URL has a password.
# @param enable_tls
#   Whether clients and members use TLS and must show a certificate.
# @param ssldir
#   Folder of the Puppet agent's certificates, if the broker does not find it by itself.
# @param cert_file
#   Certificate, in place of the agent's.
# @param key_file
#   Its key, in place of the agent's.
# @param ca_file
#   CA of clients and members, in place of Puppet's.
# @param crl_file
#   CRLs, in place of Puppet's.
# @param tls_timeout
#   Seconds that the TLS handshake of a client may take.
# @param cluster_tls_timeout
#   Seconds that the TLS handshake of a member may take.
# @param binpath
#   Where the broker is installed.
# @param binary_source
#   Where the broker comes from, without a package.
# @param top_path
#   Where `midge-top` is installed, the terminal view `midge top`.
# @param top_source
#   Where `midge-top` comes from, without a package.
# @param man_source
#   The folder that manual pages come from, without a package.
# @param completions_source
#   The folder that completions for bash come from, without a package.
# @param manage_package
#   Whether packages bring the broker, and nats.so and check_nats if these are managed.
# @param package_name
#   Name of the broker's package.
# @param package_ensure
#   Which version of the packages: `present`, `latest`, or the version's number.
# @param configdir
#   Folder of the configuration.
# @param configfile
#   The configuration.
# @param piddir
#   Folder of the pid file, with `init`. It must belong to the broker's user; it is made if it
#   is missing.
# @param service_name
#   Name of the service.
# @param service_ensure
#   Whether the broker runs.
# @param service_type
#   The service manager; found by the fact `service_provider` if not set. `redhat` is
#   deprecated and means `init`. `freebsd` is refused.
# @param limit_nofile
#   Files and connections that the broker may have open; 131072 if not set.
# @param user
#   The broker's user. If not set: `midge`, or `root` if only root can read the key.
# @param group
#   Its group; named like the user if not set.
# @param manage_user
#   Whether the user is managed, unless it is root.
# @param manage_group
#   Whether the group is managed, unless it is root.
# @param manage_collectd
#   Whether collectd gets the plugin `nats`: by the module puppet/collectd if there is one,
#   otherwise as a file among its settings.
# @param collectd_options
#   Options of the plugin for this broker, such as `LegacyNames => true`.
# @param collectd_plugin_source
#   Where nats.so comes from, without a package.
# @param collectd_package_name
#   Name of the package with nats.so.
# @param manage_nagios
#   Whether NRPE gets commands that check the broker.
# @param check_source
#   Where check_nats comes from, without a package.
# @param check_package_name
#   Name of the package with check_nats.
# @param unit_dir
#   Folder of systemd's units.
# @param init_dir
#   Folder of init scripts.
# @param upstart_dir
#   Folder of Upstart's jobs.
# @param defaults_dir
#   Folder of the settings of init scripts.
# @param man_dir
#   Folder of manual pages.
# @param completions_dir
#   Folder of completions for bash.
# @param logrotate_dir
#   Folder of logrotate's settings.
# @param nologin
#   Shell of users that do not log in.
# @param collectd_plugin_dir
#   Folder of collectd's plugins.
# @param collectd_conf_dir
#   Folder that collectd's settings include, without puppet/collectd.
# @param nagios_plugin_dir
#   Folder of the checks.
# @param nrpe_conf_dir
#   Folder that NRPE's settings include.
# @param nrpe_service
#   Name of NRPE's service.
# @param nrpe_user
#   NRPE's user.
# @param nrpe_state_dir
#   Folder in which check_nats keeps counts from one check to the next.
# @param sudoers_dir
#   Folder that sudo's settings include.
class nats (
  Stdlib::Absolutepath $unit_dir,
  Stdlib::Absolutepath $init_dir,
  Stdlib::Absolutepath $upstart_dir,
  Stdlib::Absolutepath $defaults_dir,
  Stdlib::Absolutepath $man_dir,
  Stdlib::Absolutepath $completions_dir,
  Stdlib::Absolutepath $logrotate_dir,
  Stdlib::Absolutepath $nologin,
  Stdlib::Absolutepath $collectd_plugin_dir,
  Stdlib::Absolutepath $collectd_conf_dir,
  Stdlib::Absolutepath $nagios_plugin_dir,
  Stdlib::Absolutepath $nrpe_conf_dir,
  Nats::Name $nrpe_service,
  Nats::Name $nrpe_user,
  Stdlib::Absolutepath $nrpe_state_dir,
  Stdlib::Absolutepath $sudoers_dir,
  Enum['present', 'absent'] $ensure = 'present',
  Array[Stdlib::Host] $servers = [],
  Optional[Stdlib::Fqdn] $srv_domain = undef,
  Optional[Nats::Password] $routes_password = undef,
  String[1] $cluster_name = 'nats',
  String[1] $listen_address = '::',
  Nats::Port $client_port = 4222,
  Nats::Port $cluster_port = 4223,
  String[1] $monitor_address = '127.0.0.1',
  Nats::Port $monitor_port = 8222,
  Boolean $announce_cluster = false,
  Optional[Integer[1]] $max_payload_size = undef,
  Optional[Integer[1]] $max_pending_size = undef,
  Optional[Integer[1]] $max_connections = undef,
  Optional[String[1]] $write_deadline = undef,
  Boolean $debug = false,
  Boolean $trace = false,
  Optional[Nats::Password] $extra_config = undef,
  Optional[Variant[Nats::Federation, Sensitive[Nats::Federation]]] $federation = undef,
  Boolean $enable_tls = true,
  Optional[Stdlib::Absolutepath] $ssldir = undef,
  Optional[Stdlib::Absolutepath] $cert_file = undef,
  Optional[Stdlib::Absolutepath] $key_file = undef,
  Optional[Stdlib::Absolutepath] $ca_file = undef,
  Optional[Stdlib::Absolutepath] $crl_file = undef,
  Integer[1] $tls_timeout = 2,
  Integer[1] $cluster_tls_timeout = 2,
  Stdlib::Absolutepath $binpath = '/usr/sbin/midge',
  String[1] $binary_source = 'puppet:///modules/nats/midge',
  Stdlib::Absolutepath $top_path = '/usr/bin/midge-top',
  String[1] $top_source = 'puppet:///modules/nats/midge-top',
  String[1] $man_source = 'puppet:///modules/nats/man',
  String[1] $completions_source = 'puppet:///modules/nats/completions',
  Boolean $manage_package = false,
  String[1] $package_name = 'midge',
  Variant[Enum['present', 'latest'], Pattern[/\A\d/]] $package_ensure = 'present',
  Stdlib::Absolutepath $configdir = '/etc/midge',
  Stdlib::Absolutepath $configfile = "${configdir}/midge.conf",
  Stdlib::Absolutepath $piddir = '/run/midge',
  Nats::Name $service_name = 'midge',
  Enum['running', 'stopped'] $service_ensure = 'running',
  Optional[Nats::Service_type] $service_type = undef,
  Optional[Integer[1]] $limit_nofile = undef,
  Optional[Nats::Name] $user = undef,
  Optional[Nats::Name] $group = undef,
  Boolean $manage_user = true,
  Boolean $manage_group = true,
  Boolean $manage_collectd = false,
  Hash[String[1], Variant[String, Numeric, Boolean]] $collectd_options = {},
  String[1] $collectd_plugin_source = 'puppet:///modules/nats/nats.so',
  String[1] $collectd_package_name = 'collectd-plugin-midge',
  Boolean $manage_nagios = false,
  String[1] $check_source = 'puppet:///modules/nats/check_nats',
  String[1] $check_package_name = 'check-nats',
) {
  $fqdn = $facts['networking']['fqdn']

  if $ensure == 'present' and !$servers.empty and !($fqdn in $servers) {
    notify { 'Nats sanity check':
      message => "${fqdn} is not in the list of NATS servers ${servers.join(', ')}",
    }
  } else {
    $peers = $servers.filter |$server| { $server != $fqdn }
    $is_member = !$peers.empty or $srv_domain =~ NotUndef
    if $is_member and !$routes_password {
      fail('nats: a mesh (servers or srv_domain) needs routes_password, the password that its members show each other')
    }

    if $service_type == 'freebsd' {
      fail('nats: midge runs on Linux only: service_type must not be freebsd')
    }
    if $service_type == 'redhat' {
      warning('nats: service_type redhat is deprecated: init means the same')
    }
    $manager = $service_type ? {
      'redhat' => 'init',
      undef    => $facts['service_provider'] ? {
        /\A(systemd|upstart)\z/ => $facts['service_provider'],
        default                 => 'init',
      },
      default  => $service_type,
    }

    # Whether a file of the host's Puppet agent is used.
    $is_agents = $enable_tls and !($cert_file and $key_file and $ca_file)

    # Who runs the broker must be able to read its key. Members of key_group can read the key
    # of the host's Puppet agent. A key of its own (key_file) belongs to root, as in the first
    # version, unless a user is named.
    $key_group = if $enable_tls and !$key_file { $facts.dig('nats', 'key_group') }
    $default_user = if $enable_tls and !$key_group { 'root' } else { 'midge' }
    $run_user = $user.lest || { $default_user }
    $run_group = $group.lest || { $run_user }

    $monitor = nats::host_port($monitor_address, $monitor_port)
    $monitor_url = $monitor_address ? {
      /\A(0\.0\.0\.0|::)\z/ => "http://127.0.0.1:${monitor_port}",
      default               => "http://${monitor}",
    }

    # Where collectd, check_nats and midge top look first, if there is a folder in which the
    # broker's user may make it: the unit and the init script make one, Upstart none.
    $monitor_socket = [$manager, $piddir] ? {
      ['systemd', default]                   => '/run/midge/monitor.sock',
      ['init', /\A(\/var)?\/run\/?\z/]       => undef,
      ['init', default]                      => "${piddir}/monitor.sock",
      default                                => undef,
    }

    # What the broker reads at its start only. The files of the service manager have it as a
    # comment, so that a change of it restarts the broker; all else is reloaded.
    $start_settings = {
      'server_name' => $fqdn,
      'host'        => $listen_address,
      'port'        => $client_port,
      'http'        => $monitor,
      'socket'      => $monitor_socket.lest || { 'none' },
      'cluster'     => if $is_member { "${cluster_name}, port ${cluster_port}" } else { 'none' },
    }

    $file_ensure = if $ensure == 'present' { 'file' } else { 'absent' }
    $folder_ensure = if $ensure == 'present' { 'directory' } else { 'absent' }
    $packages_ensure = if $ensure == 'present' { $package_ensure } else { 'purged' }

    contain nats::install
    contain nats::config
    contain nats::service

    if $ensure == 'present' {
      Class['nats::install'] -> Class['nats::config'] -> Class['nats::service']
    } else {
      Class['nats::service'] -> Class['nats::config'] -> Class['nats::install']
    }

    if $manage_collectd {
      contain nats::collectd
    }
    if $manage_nagios {
      contain nats::nagios
    }
  }
}
