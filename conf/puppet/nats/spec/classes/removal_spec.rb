# frozen_string_literal: true

describe 'nats' do
  let(:mesh) { { servers: SERVERS, routes_password: 'S3cret' } }

  describe 'removal' do
    [DEBIAN, REDHAT, SYSVINIT, UPSTART].each do |host|
      context "on #{host['os']['name']} with #{host['service_provider']}" do
        let(:facts) { host }
        let(:more) { { manage_collectd: true, manage_nagios: true } }
        let(:params) { mesh.merge(more).merge(ensure: 'absent') }
        let(:pre_condition) { 'class { "collectd": manage_repo => false }' }

        it { is_expected.to compile.with_all_deps }

        it 'takes away each file, user and service that it brings' do
          is_expected.to contain_service('midge').with_ensure('stopped').with_enable(false)
          kept = catalogue.resources.select { |it| it.type == 'File' && it.title =~ /midge|nats/ && it[:ensure] != 'absent' }
          expect(kept.map(&:title)).to eq([])
          expect(catalogue.resources.select { |it| %w[User Group].include?(it.type) && it[:ensure] != 'absent' }).to eq([])
          is_expected.to contain_exec('rmdir /etc/midge')
        end

        it 'stops the service before its files go' do
          is_expected.to contain_service('midge').that_comes_before('Class[nats::install]')
        end
      end
    end

    context 'of a user' do
      let(:facts) { DEBIAN }
      let(:params) { { ensure: 'absent' } }

      it 'comes before that of its group' do
        is_expected.to contain_user('midge').with_ensure('absent').that_comes_before('Group[midge]')
      end
    end

    context 'of packages' do
      let(:params) { { ensure: 'absent', manage_package: true } }

      it { is_expected.to contain_package('midge').with_ensure('purged') }
    end
  end
end
