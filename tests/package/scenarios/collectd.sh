# The collectd plugin: a running collectd records at once; after a removal it starts without the
# plugin, and the settings are back after another installation.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh
settings=/etc/collectd/collectd.conf.d/nats.conf

printf 'Interval 1\nLoadPlugin csv\n<Plugin csv>\n  DataDir "/tmp/values"\n</Plugin>\n' \
    >/etc/collectd/collectd.conf.d/test.conf
service collectd start
install_from $NEW midge midge-top check-nats collectd-plugin-midge
wait_until grep -q ',1.000000$' -r /tmp/values --include='bool-up-*'

echo '# edited' >>$settings
dpkg --remove collectd-plugin-midge >/dev/null 2>&1
service collectd status
service collectd restart
service collectd status
install_from $NEW collectd-plugin-midge
grep -q '# edited' $settings
rm -rf /tmp/values
wait_until grep -q ',1.000000$' -r /tmp/values --include='bool-up-*'

dpkg --remove collectd-plugin-midge >/dev/null 2>&1
dpkg --purge collectd-plugin-midge >/dev/null 2>&1
expect "settings after a purge" "" "$(find /etc/collectd -name '*nats*')"
