# frozen_string_literal: true

require 'etc'
require 'tempfile'

describe 'the fact nats' do
  # The fact of a host whose agent has this file as its key.
  def fact(key)
    Puppet[:hostprivkey] = key
    Facter.clear
    Facter.add(:kernel) { setcode { 'Linux' } }
    load File.expand_path('../../lib/facter/nats.rb', __dir__)
    Facter.value(:nats)
  end

  # A key whose group is not root's.
  let(:key) do
    file = Tempfile.new
    group = File.stat(file.path).gid
    group = 1 if group.zero?
    File.chown(nil, group, file.path)
    file
  end

  it 'names the group that may read the key' do
    File.chmod(0o640, key.path)
    expect(fact(key.path)['key_group']).to eq(Etc.getgrgid(File.stat(key.path).gid).name)
  end

  it 'names no group if only the owner may' do
    File.chmod(0o600, key.path)
    expect(fact(key.path)).not_to include('key_group')
  end

  it 'names no group without a key' do
    expect(fact('/nonexistent/key.pem')).not_to include('key_group')
  end
end
