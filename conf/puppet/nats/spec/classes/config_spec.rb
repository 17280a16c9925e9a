# frozen_string_literal: true

describe 'nats' do
  let(:facts) { DEBIAN }
  let(:mesh) { { servers: SERVERS, routes_password: 'S3cret' } }
  let(:midge_conf) { catalogue.resource('file', '/etc/midge/midge.conf')[:content] }

  it { is_expected.to compile.with_all_deps }

  describe 'a single broker' do
    it 'uses the certificates of the Puppet agent and has no cluster' do
      expect(midge_conf).to include(<<~CONF)
        server_name: "nats1.example.net"
        host: "::"
        port: 4222
        http: "127.0.0.1:8222"
        monitor { unix: "/run/midge/monitor.sock" }
      CONF
      expect(midge_conf).to include("tls {\n  puppet: true\n  timeout: 2\n}\n")
      expect(midge_conf).not_to include('cluster')
      expect(midge_conf).not_to match(/max_|write_deadline/)
    end

    it 'has a configuration that midge accepts and only its group reads' do
      is_expected.to contain_file('/etc/midge/midge.conf')
        .with_mode('0640').with_owner('root').with_group('midge')
        .with_validate_cmd('/usr/sbin/midge -t -c %')
        .that_notifies('Exec[nats reload]')
        .that_requires('File[/usr/sbin/midge]')
    end

    it 'is reloaded for a new configuration, and hands over to a new program' do
      is_expected.to contain_exec('nats reload')
        .with_command('systemctl reload midge')
        .with_onlyif('systemctl is-active --quiet midge')
        .with_refreshonly(true)
      is_expected.to contain_service('midge').with_ensure('running').with_enable(true)
      is_expected.not_to contain_class('nats::install').that_notifies('Class[nats::service]')
      is_expected.to contain_file('/usr/sbin/midge').that_notifies('Exec[nats upgrade]')
      is_expected.not_to contain_file('/usr/sbin/midge').that_notifies('Service[midge]')
      is_expected.not_to contain_file('/usr/bin/midge-top').that_notifies('Service[midge]')
      is_expected.to contain_exec('nats upgrade')
        .with_refreshonly(true).with_logoutput(true)
        .with_onlyif('systemctl is-active --quiet midge')
        .that_requires('Service[midge]')
      is_expected.to contain_file('/etc/systemd/system/midge.service').that_notifies('Service[midge]')
      is_expected.to contain_file('/etc/systemd/system/midge.service.d/puppet.conf').that_notifies('Service[midge]')
      is_expected.to contain_user('midge').that_notifies('Service[midge]')
      is_expected.to contain_group('midge').that_notifies('Service[midge]')
      is_expected.not_to contain_file('/etc/midge/midge.conf').that_notifies('Service[midge]')
      is_expected.not_to contain_class('nats::config').that_notifies('Class[nats::service]')
    end

    it 'is itself: nothing of collectd, Nagios or packages' do
      is_expected.not_to contain_class('nats::collectd')
      is_expected.not_to contain_class('nats::nagios')
      is_expected.to have_package_resource_count(0)
      is_expected.to have_notify_resource_count(0)
    end
  end

  describe 'a mesh' do
    let(:params) { mesh }

    it { is_expected.to compile.with_all_deps }

    SERVERS.each do |server|
      context "on #{server}" do
        let(:facts) { DEBIAN.merge('networking' => { 'fqdn' => server, 'hostname' => 'nats' }) }

        it 'dials the four others' do
          expect(midge_conf).to include("server_name: \"#{server}\"")
          expect(midge_conf.scan(/nats-route:.*(?=")/)).to eq(
            (SERVERS - [server]).map { |peer| "nats-route://routes:S3cret@#{peer}:4223" }
          )
        end
      end
    end

    it 'has the same login, name and TLS at each member' do
      expect(midge_conf).to include(<<-CONF)
cluster {
  name: "nats"
  host: "::"
  port: 4223
  no_advertise: true
  tls {
    puppet: true
    timeout: 2
  }
  authorization {
    user: "routes"
    password: "S3cret"
  }
      CONF
    end

    context 'with a password that means something in a URL and in a quoted text' do
      let(:params) { mesh.merge(routes_password: 'p@:/%"\\ä') }

      it 'is encoded in each place as needed' do
        expect(midge_conf).to include('password: "p@:/%\\"\\\\ä"')
        expect(midge_conf).to include('routes:p%40%3A%2F%25%22%5C%C3%A4@nats2.example.net:4223')
      end
    end

    context 'with a sensitive password' do
      let(:params) { mesh.merge(routes_password: sensitive('S3cret')) }

      it { expect(midge_conf).to include('routes:S3cret@nats5') }
    end

    it 'shows no password in logs and reports' do
      is_expected.to contain_file('/etc/midge/midge.conf').with_content(sensitive(/routes:S3cret@nats5/))
    end

    context 'without a password' do
      let(:params) { { servers: SERVERS } }

      it { is_expected.to compile.and_raise_error(/servers or srv_domain\) needs routes_password/) }
    end

    context 'on a host that is not in the list' do
      let(:params) { mesh.merge(servers: SERVERS.drop(1), manage_collectd: true, manage_nagios: true) }

      it 'says so and does nothing else' do
        is_expected.to contain_notify('Nats sanity check').with_message(
          'nats1.example.net is not in the list of NATS servers ' \
          'nats2.example.net, nats3.example.net, nats4.example.net, nats5.example.net'
        )
        others = catalogue.resources.map(&:type) - %w[Stage Class Notify]
        expect(others).to be_empty
      end
    end

    context 'of one host' do
      let(:params) { { servers: [FQDN] } }

      it { expect(midge_conf).not_to include('cluster') }
    end
  end

  describe 'a mesh that is found by DNS' do
    let(:params) { { srv_domain: 'example.net', routes_password: 'S3cret' } }

    it { is_expected.to compile.with_all_deps }

    it 'has a login and no list of members' do
      expect(midge_conf).to include(<<-CONF)
  authorization {
    user: "routes"
    password: "S3cret"
  }
  srv_domain: "example.net"
}
      CONF
      expect(midge_conf).not_to include('routes =')
    end

    context 'without a password' do
      let(:params) { { srv_domain: 'example.net' } }

      it { is_expected.to compile.and_raise_error(/servers or srv_domain\) needs routes_password/) }
    end
  end

  describe 'a federation' do
    let(:site) do
      { 'name' => 'prod', 'upstream' => %w[tls://central1.example.net:4222 srv://_a._tcp.example.net] }
    end
    let(:params) { { federation: site } }

    it { is_expected.to compile.with_all_deps }

    it 'has the certificates of the Puppet agent' do
      expect(midge_conf).to end_with(<<~CONF)

        federation {
          name: "prod"
          upstream = [
            "tls://central1.example.net:4222"
            "srv://_a._tcp.example.net"
          ]
          tls {
            puppet: true
          }
        }
      CONF
    end

    it 'is not there by default' do
      params.clear
      expect(midge_conf).not_to include('federation')
    end

    context 'with everything and without TLS' do
      let(:params) do
        more = { 'collectives' => %w[mcollective eu], 'account' => 'choria', 'nameserver' => '127.0.0.1:8600' }
        { federation: sensitive(site.merge(more)), enable_tls: false }
      end

      it 'has all settings' do
        expect(midge_conf).to include("  name: \"prod\"\n  account: \"choria\"\n  nameserver: \"127.0.0.1:8600\"\n")
        expect(midge_conf).to end_with("  collectives = [\n    \"mcollective\"\n    \"eu\"\n  ]\n}\n")
      end
    end

    [
      {}, { 'name' => 'prod' }, { 'name' => 'a.b', 'upstream' => ['nats://a'] },
      { 'name' => 'prod', 'upstream' => [] }, { 'name' => 'prod', 'upstream' => ['a:4222'] },
      { 'name' => 'prod', 'upstream' => ['nats://a'], 'colectives' => ['a'] }
    ].each do |wrong|
      context "of #{wrong}" do
        let(:params) { { federation: wrong } }

        it { is_expected.to compile.and_raise_error(/parameter 'federation'/) }
      end
    end
  end

  describe 'the parameters of the first version' do
    let(:params) do
      mesh.merge(
        client_port: '5222', cluster_port: '5223', monitor_port: '9222', listen_address: '0.0.0.0',
        max_payload_size: 2_097_152, max_pending_size: 10_485_760, max_connections: 100, write_deadline: '2s',
        debug: true, trace: true, announce_cluster: true, tls_timeout: 3, cluster_tls_timeout: 4,
        cert_file: '/ssl/cert.pem', key_file: '/ssl/key.pem', ca_file: '/ssl/ca.pem',
        binpath: '/opt/sbin/gnatsd', binary_source: '/srv/midge', configdir: '/etc/gnatsd',
        configfile: '/etc/gnatsd/gnatsd.cfg', piddir: '/var/run', service_name: 'gnatsd',
        service_ensure: 'stopped', service_type: 'init', limit_nofile: 4096, user: 'nats', group: 'brokers',
        manage_user: true, manage_group: true
      )
    end
    let(:midge_conf) { catalogue.resource('file', '/etc/gnatsd/gnatsd.cfg')[:content] }

    it { is_expected.to compile.with_all_deps }

    it 'mean what they meant' do
      expect(midge_conf.gsub(/^#.*\n/, '')).to eq(<<~CONF)

        server_name: "nats1.example.net"
        host: "0.0.0.0"
        port: 5222
        http: "127.0.0.1:9222"

        debug: true
        trace: true
        max_payload: 2097152
        max_pending: 10485760
        max_connections: 100
        write_deadline: "2s"

        tls {
          verify: true
          cert_file: "/ssl/cert.pem"
          key_file: "/ssl/key.pem"
          ca_file: "/ssl/ca.pem"
          timeout: 3
        }

        cluster {
          name: "nats"
          host: "0.0.0.0"
          port: 5223
          no_advertise: false
          tls {
            verify: true
            cert_file: "/ssl/cert.pem"
            key_file: "/ssl/key.pem"
            ca_file: "/ssl/ca.pem"
            timeout: 4
          }
          authorization {
            user: "routes"
            password: "S3cret"
          }
          routes = [
            "nats-route://routes:S3cret@nats2.example.net:5223"
            "nats-route://routes:S3cret@nats3.example.net:5223"
            "nats-route://routes:S3cret@nats4.example.net:5223"
            "nats-route://routes:S3cret@nats5.example.net:5223"
          ]
        }
      CONF
    end

    it 'place the files, the service and its user' do
      is_expected.to contain_file('/opt/sbin/gnatsd').with_source('/srv/midge').with_mode('0755')
      is_expected.to contain_file('/etc/init.d/gnatsd').with_mode('0755')
      is_expected.to contain_file('/etc/default/gnatsd')
      settings = catalogue.resource('file', '/etc/default/gnatsd')[:content]
      expect(settings).to end_with(<<~SETTINGS)
        DAEMON='/opt/sbin/gnatsd'
        CONFIG='/etc/gnatsd/gnatsd.cfg'
        PIDFILE='/var/run/gnatsd.pid'
        RUN_USER='nats'
        RUN_GROUP='brokers'
        OPEN_FILES='4096'
      SETTINGS
      is_expected.to contain_service('gnatsd').with_ensure('stopped')
      is_expected.to contain_user('nats').with_gid('brokers')
      is_expected.to contain_group('brokers')
    end

    context 'without TLS' do
      let(:params) { super().merge(enable_tls: false) }

      it { expect(midge_conf).not_to include('tls') }
    end
  end
end
