# The archive on a host without packages of midge: installed, run as README.md says, installed again
# over a running broker, which hands over.
# shellcheck shell=bash source=tests/package/lib.sh
. /tests/lib.sh

cd /tmp
tar -xzf $NEW/midge-*-linux-*.tar.gz
midge-*/install.sh
expect "mode of the program" 755 "$(stat -c %a /usr/local/sbin/midge)"
adduser --system --quiet --group --no-create-home --home /nonexistent midge
/etc/init.d/midge start
export PATH=$PATH:/usr/local/bin:/usr/local/sbin
wait_until serves
expect "the user" midge "$(stat -c %U "/proc/$(pid)")"

echo '# edited' >>/etc/midge/midge.conf
old=$(pid)
midge-*/install.sh
grep -q '# edited' /etc/midge/midge.conf
count_during /etc/init.d/midge try-upgrade
wait_until test ! -e "/proc/$old"
/etc/init.d/midge stop
expect "processes of a stopped broker" "" "$(pid || true)"
