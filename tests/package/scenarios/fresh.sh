# A fresh host without systemd: what is started, what it opens, what is there; removing and
# purging leave what they should.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

# Every name below / that a package may have left; dpkg's own records are not.
names() {
    find / -xdev \( -path /tmp -o -path /packages -o -path /tests -o -path /var/lib/dpkg -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/systemd \) -prune -o -print | grep -vE '^/etc/(passwd|group|shadow|gshadow)-?$' | sort
    find /var/log/midge /var/lib/midge 2>/dev/null || true
}
names >/tmp/before

install_from $NEW midge midge-top check-nats

wait_until serves
expect "the user" midge "$(stat -c %U "/proc/$(pid)")"
expect "ports open to other hosts" "" "$(open_ports)"
service midge status
expect "mode of midge.conf" "640 root:midge" "$(stat -c '%a %U:%G' /etc/midge/midge.conf)"
expect "mode of the socket" "660 midge:midge" "$(stat -c '%a %U:%G' /run/midge/monitor.sock)"
su -s /bin/sh nobody -c 'check_nats' | grep '^NATS OK'
/usr/lib/nagios/plugins/check_nats --mode connections | grep '^NATS OK'
su -s /bin/sh nobody -c 'midge-top --once' | grep connections >/dev/null
midge top --once | grep connections >/dev/null
midge -t -c /etc/midge/midge.conf
for page in man8/midge.8 man5/midge.conf.5 man1/midge-top.1 man1/check_nats.1; do
    zcat /usr/share/man/$page.gz >/dev/null
done
for program in midge midge-top check_nats; do
    bash -n /usr/share/bash-completion/completions/$program
    test -s /usr/share/zsh/vendor-completions/_$program
    test -s /usr/share/fish/vendor_completions.d/$program.fish
done
for package in midge midge-top check-nats; do
    zcat -f /usr/share/doc/$package/THIRD-PARTY.md* | grep '^- clap' >/dev/null
    test -s /usr/share/doc/$package/copyright
done
for example in cluster.conf midge.socket midge.json midge-alerts.yml fail2ban/filter.d/midge.conf; do
    test -s /usr/share/doc/midge/examples/$example
done

# A log file is rotated, and the broker goes on in the new one.
printf 'log_file: "/var/log/midge/midge.log"\n' >>/etc/midge/midge.conf
service midge restart
wait_until grep -q 'Server is ready' /var/log/midge/midge.log
logrotate --state /tmp/rotated --force /etc/logrotate.d/midge
wait_until test -s /var/log/midge/midge.log
grep -q 'Server is ready' /var/log/midge/midge.log.1
expect "mode of the log" "640 midge:midge" "$(stat -c '%a %U:%G' /var/log/midge/midge.log)"

# The service of a removed package is gone, its settings are not.
dpkg --remove midge 2>/dev/null >/tmp/dpkg.log
expect "processes of a removed broker" "" "$(pid || true)"
grep -q '^log_file' /etc/midge/midge.conf
logrotate --state /tmp/rotated --force /etc/logrotate.d/midge
install_from $NEW midge
wait_until serves
grep -q '^log_file' /etc/midge/midge.conf

dpkg --purge midge midge-top check-nats 2>/dev/null >/tmp/dpkg.log
expect "processes of a purged broker" "" "$(pid || true)"
names >/tmp/after
expect "names that are left" "" "$(comm -13 /tmp/before /tmp/after)"
id midge
