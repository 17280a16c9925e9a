# frozen_string_literal: true

# What the class nats must know of a host:
#
# key_group: the group, other than root's, whose members may read the key of the
#   host's Puppet agent. Debian's packages and Puppet servers have the group puppet;
#   Puppet's own packages leave the key to root.
# gnatsd: whether the service gnatsd of the first version of this module is there.
Facter.add(:nats) do
  confine kernel: 'Linux'
  setcode do
    require 'etc'
    require 'puppet'

    gnatsd = [
      '/etc/systemd/system/gnatsd.service', '/etc/init.d/gnatsd', '/etc/init/gnatsd.conf'
    ]
    found = { 'gnatsd' => gnatsd.any? { |file| File.exist?(file) } }
    key = Puppet[:hostprivkey]
    if key && File.exist?(key)
      status = File.stat(key)
      if status.gid.nonzero? && status.mode & 0o040 != 0
        found['key_group'] = Etc.getgrgid(status.gid).name
      end
    end
    found
  end
end
