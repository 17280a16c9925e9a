# frozen_string_literal: true

require 'fileutils'
require 'open3'
require 'tmpdir'
require 'rspec-puppet'

# The modules that this one uses, beside it or as Debian installs them.
MODULES = [File.expand_path('../..', __dir__), '/usr/share/puppet/modules']

RSpec.configure do |config|
  config.module_path = MODULES.join(':')
  config.strict_variables = true
  config.setup_fixtures = false
end

# Yields a module path with nothing but this module and stdlib.
def with_only_stdlib
  Dir.mktmpdir do |folder|
    %w[nats stdlib].each do |name|
      path = MODULES.map { |modules| "#{modules}/#{name}" }.find { |place| File.directory?(place) }
      File.symlink(path, "#{folder}/#{name}")
    end
    yield folder
  end
end

FQDN = 'nats1.example.net'
SERVERS = (1..5).map { |number| "nats#{number}.example.net" }.freeze

# The facts that this module and puppet/collectd read.
def facts_of(family, name, release, service_provider, more = {})
  {
    'os' => {
      'family' => family,
      'name' => name,
      'release' => { 'full' => release, 'major' => release[/\d+/] },
      'distro' => { 'codename' => 'none' },
    },
    'osfamily' => family,
    'kernel' => 'Linux',
    'path' => '/usr/sbin:/usr/bin:/sbin:/bin',
    'hostname' => FQDN[/\w+/],
    'networking' => { 'fqdn' => FQDN, 'hostname' => FQDN[/\w+/] },
    'service_provider' => service_provider,
    'nats' => { 'gnatsd' => false },
  }.merge(more)
end

# Debian with its own agent, whose key the group puppet may read.
DEBIAN = facts_of(
  'Debian', 'Debian', '12.11', 'systemd', 'nats' => { 'gnatsd' => false, 'key_group' => 'puppet' }
)
# RedHat with Puppet's own agent, whose key is root's.
REDHAT = facts_of('RedHat', 'RedHat', '9.4', 'systemd')
# Devuan and the like.
SYSVINIT = facts_of('Debian', 'Devuan', '5', 'debian')
UPSTART = facts_of('Debian', 'Ubuntu', '14.04', 'upstart')
