# frozen_string_literal: true

describe 'nats' do
  let(:facts) { DEBIAN }
  let(:mesh) { { servers: SERVERS, routes_password: 'S3cret' } }
  let(:midge_conf) { catalogue.resource('file', '/etc/midge/midge.conf')[:content] }

  describe 'the first version on the host' do
    let(:facts) { DEBIAN.merge('nats' => { 'gnatsd' => true, 'key_group' => 'puppet' }) }

    it 'is stopped before its ports are needed' do
      is_expected.to contain_service('gnatsd')
        .with_ensure('stopped').with_enable(false).that_comes_before('Service[midge]')
    end

    context 'when midge takes its name' do
      let(:params) { { service_name: 'gnatsd' } }

      it { is_expected.to contain_service('gnatsd').with_ensure('running').with_enable(true) }
    end
  end

  describe 'the user' do
    it 'may read the key of the agent by its group' do
      is_expected.to contain_user('midge').with_groups(['puppet']).with_system(true)
      is_expected.to contain_group('midge')
    end

    context 'where only root reads the key' do
      let(:facts) { REDHAT }

      it 'is root, with no power but to read' do
        is_expected.to have_user_resource_count(0)
        is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf')
          .with_content(/^User=root\nGroup=root\n(#.*\n)?CapabilityBoundingSet=CAP_DAC_READ_SEARCH$/)
        is_expected.to contain_file('/etc/midge/midge.conf').with_group('root')
      end

      context 'without TLS' do
        let(:params) { { enable_tls: false } }

        it { is_expected.to contain_user('midge').with_groups([]) }
      end

      context 'with a user' do
        let(:params) { { user: 'nats' } }

        it { is_expected.to contain_user('nats').with_gid('nats') }
      end
    end

    context 'with a key of its own' do
      let(:params) { { key_file: '/ssl/key.pem', cert_file: '/ssl/cert.pem' } }

      it 'is root, as it was, and the rest is the agent\'s' do
        is_expected.to have_user_resource_count(0)
        expect(midge_conf).to include('puppet: true').and include('key_file: "/ssl/key.pem"')
      end
    end

    context 'that others manage' do
      let(:params) { { manage_user: false, manage_group: false } }

      it do
        is_expected.to have_user_resource_count(0)
        is_expected.to have_group_resource_count(0)
      end
    end
  end

  describe 'the service manager' do
    # The command of the systemd host, run with other programs of these names.
    describe 'that is systemd, at an upgrade' do
      let(:command) { catalogue.resource('exec', 'nats upgrade')[:command] }
      let(:params) { { binpath: "#{folder}/midge" } }
      let(:folder) { Dir.mktmpdir }

      after { FileUtils.rm_rf(folder) }

      # What the command does if the upgrade succeeds or not, of a process that runs this program.
      def done(folder, command, upgrades, running)
        programs = {
          'midge' => "echo \"$@\"\n#{upgrades ? 'exit 0' : 'exit 1'}",
          'systemctl' => "case $1 in show) echo MainPID=#{running} ;; *) echo \"$@\" ;; esac",
        }
        programs.each do |name, text|
          File.write("#{folder}/#{name}", "#!/bin/sh\n#{text}\n", perm: 0o755)
        end
        output, status = Open3.capture2e({ 'PATH' => "#{folder}:#{ENV['PATH']}" }, 'sh', '-c', command)
        expect(status).to be_success, output
        output
      end

      it 'asks the main process to hand over' do
        expect(done(folder, command, true, Process.pid)).to eq("--signal upgrade=#{Process.pid}\n")
      end

      it 'restarts one that cannot, and says so' do
        expect(done(folder, command, false, Process.pid)).to eq(
          "--signal upgrade=#{Process.pid}\nno upgrade without a gap: the broker is restarted\nrestart midge\n"
        )
      end

      context 'of a process that runs this program' do
        let(:params) { { binpath: File.realpath('/proc/self/exe') } }

        it 'leaves it alone' do
          expect(done(folder, command, false, Process.pid)).to eq('')
        end
      end
    end

    it 'is systemd: a unit and a drop-in' do
      is_expected.to contain_file('/etc/systemd/system/midge.service').with_content(/^ExecStart=/)
      is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf')
        .with_content(%r{^ExecStart=\nExecStart=/usr/sbin/midge -c /etc/midge/midge.conf$})
        .that_notifies('Exec[nats daemon-reload]')
    end

    {
      'sysvinit' => [
        SYSVINIT, ['/etc/init.d/midge', '/etc/default/midge'],
        '/etc/init.d/midge reload', 'test -x /etc/init.d/midge && /etc/init.d/midge status'
      ],
      'upstart' => [
        UPSTART, ['/etc/init/midge.conf', '/etc/init/midge.override'],
        'initctl reload midge', 'initctl status midge | grep -q start/running'
      ],
    }.each do |name, (host, files, reload, status)|
      context "is #{name}" do
        let(:facts) { host }

        it { is_expected.to compile.with_all_deps }

        it 'has a monitoring socket if its folder is made' do
          socket = "monitor { unix: \"/run/midge/monitor.sock\" }\n"
          if name == 'upstart'
            expect(midge_conf).not_to include('monitor {')
          else
            expect(midge_conf).to include(socket)
          end
        end

        it 'hands over to a new program, or is restarted' do
          command = catalogue.resource('exec', 'nats upgrade')[:command]
          expect(command).to match(name == 'sysvinit' ? %r{\A/etc/init.d/midge try-upgrade\z} : /initctl restart midge; }\z/)
        end

        it 'has its own files and its own reload' do
          files.each { |file| is_expected.to contain_file(file) }
          is_expected.to contain_exec('nats reload').with_command(reload).with_onlyif(status)
          is_expected.not_to contain_file('/etc/systemd/system/midge.service')
        end
      end
    end

    context 'with a limit of files' do
      let(:params) { { limit_nofile: 51_200 } }

      it do
        is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf')
          .with_content(/^LimitNOFILE=51200$/)
      end
    end

    context 'of the deprecated type redhat' do
      let(:facts) { REDHAT }
      let(:params) { { service_type: 'redhat' } }

      it 'means init, and says so' do
        logs = []
        Puppet::Util::Log.newdestination(Puppet::Test::LogCollector.new(logs))
        is_expected.to contain_file('/etc/init.d/midge')
        is_expected.to contain_file('/etc/sysconfig/midge')
        expect(logs.map(&:message)).to include(/service_type redhat is deprecated/)
      end
    end

    context 'of FreeBSD' do
      let(:params) { { service_type: 'freebsd' } }

      it { is_expected.to compile.and_raise_error(/runs on Linux only/) }
    end

    # Each of these takes effect at a start only, so a change must reach a file that restarts.
    {
      listen_address: ['127.0.0.1', 'host: 127.0.0.1'],
      client_port: [5222, 'port: 5222'],
      monitor_port: [9222, 'http: 127.0.0.1:9222'],
      monitor_address: ['::', 'http: [::]:8222'],
      cluster_port: [5223, 'cluster: nats, port 5223'],
      cluster_name: ['other', 'cluster: other, port 4223'],
      servers: [[], 'cluster: none'],
    }.each do |name, (value, line)|
      context "with another #{name}" do
        let(:params) { mesh.merge(name => value) }

        it 'restarts the broker' do
          is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf')
            .with_content(/^#   #{Regexp.escape(line)}$/)
        end
      end
    end
  end

  describe 'what a package would bring as well' do
    let(:params) { { user: 'nats', binpath: '/opt/midge' } }

    it 'is the terminal view, manuals, completions and the rotation of logs' do
      is_expected.to contain_file('/usr/bin/midge-top').with_source('puppet:///modules/nats/midge-top').with_mode('0755')
      %w[man8/midge.8 man5/midge.conf.5 man1/midge-top.1].each do |page|
        is_expected.to contain_file("/usr/share/man/#{page}")
          .with_source("puppet:///modules/nats/man/#{page[/[^\/]+$/]}")
      end
      %w[midge midge-top].each do |program|
        is_expected.to contain_file("/usr/share/bash-completion/completions/#{program}")
          .with_source("puppet:///modules/nats/completions/#{program}")
          .that_requires('Exec[mkdir -p /usr/share/bash-completion/completions]')
      end
      is_expected.to contain_file('/etc/logrotate.d/midge')
        .with_content(%r{^    su nats nats$})
        .with_content(%r{^        /opt/midge --signal 'reopen=\*'})
    end
  end

  describe 'packages' do
    let(:params) { { manage_package: true, package_ensure: 'latest', manage_collectd: true, manage_nagios: true } }

    it 'bring programs and the unit; Puppet\'s own settings stay beside it' do
      %w[midge collectd-plugin-midge check-nats].each do |name|
        is_expected.to contain_package(name).with_ensure('latest')
      end
      is_expected.to contain_package('midge').that_comes_before('File[/etc/midge/midge.conf]')
      is_expected.to contain_package('midge').that_notifies('Exec[nats upgrade]')
      is_expected.not_to contain_file('/usr/sbin/midge')
      is_expected.not_to contain_file('/usr/bin/midge-top')
      is_expected.not_to contain_file('/etc/logrotate.d/midge')
      is_expected.not_to contain_file('/usr/share/man/man8/midge.8')
      is_expected.not_to contain_file('/etc/systemd/system/midge.service')
      is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf')
    end

    context 'of one version' do
      let(:params) { super().merge(package_ensure: '0.1.0') }

      it { is_expected.to contain_package('check-nats').with_ensure('0.1.0') }
    end
  end
end
