complete -c check_nats -s H -l hostname -d 'Host of the broker, also as HOST:PORT, nats://HOST:PORT or tls://HOST:PORT; without -H and -p the client port is where /varz says. Each -H is a broker' -r
complete -c check_nats -s p -l port -d 'Client port, else 4222' -r
complete -c check_nats -s m -l monitor-port -d 'Monitoring port at that host, else 8222' -r
complete -c check_nats -s u -l url -d 'Monitoring port, in place of -m: http://HOST:PORT, https://HOST:PORT or unix:PATH; without -H too, this host\'s socket or 127.0.0.1:8222. Without -H each -u is a broker' -r
complete -c check_nats -l socket -d 'Unix socket of the monitoring port; a URL given as well adds the base path' -r -F
complete -c check_nats -l srv -d 'DNS SRV record that lists the brokers, such as _nats-server._tcp.example.net, in place of -H' -r
complete -c check_nats -l nameserver -d '--srv: name server to ask, else those of /etc/resolv.conf' -r
complete -c check_nats -l tls-server-name -d 'Name that the client port\'s certificate must have, in place of the host' -r
complete -c check_nats -l ssldir -d '--puppet: the agent\'s ssldir, else as in its settings' -r -F
complete -c check_nats -l cacert -d 'CAs that sign brokers\' certificates, else the system\'s' -r -F
complete -c check_nats -l cert -d 'The check\'s own certificate, with its chain' -r -F
complete -c check_nats -l key -d 'Its key' -r -F
complete -c check_nats -l crl -d 'CRLs: a broker with a revoked certificate is critical' -r -F
complete -c check_nats -l user -d 'User at the client port, else $CHECK_NATS_USER; in mode path the user that is asked about' -r
complete -c check_nats -l password-file -d 'File with the password, else $CHECK_NATS_PASSWORD' -r -F
complete -c check_nats -l token-file -d 'File with a token, else $CHECK_NATS_TOKEN' -r -F
complete -c check_nats -l nkey-file -d 'File with the seed of an nkey, else $CHECK_NATS_NKEY' -r -F
complete -c check_nats -l creds -d 'Credentials file with a JWT and a seed, or its text in $CHECK_NATS_CREDS' -r -F
complete -c check_nats -l monitor-user -d 'User at the monitoring port, else $MONITOR_USER' -r
complete -c check_nats -l monitor-password-file -d 'File with that user\'s password, else $MONITOR_PASSWORD' -r -F
complete -c check_nats -l monitor-token-file -d 'File with a token of the monitoring port, else $MONITOR_TOKEN' -r -F
complete -c check_nats -s t -l timeout -d 'Time for the whole run, and the state when it runs out' -r
complete -c check_nats -l mode -d 'What to check, see below' -r -f -a "health\t''
explain\t''
connect\t''
roundtrip\t''
connections\t''
slow\t''
losses\t''
no-interest\t''
logins\t''
violations\t''
restarts\t''
pending\t''
traffic\t''
cluster\t''
federation\t''
leafnodes\t''
nodes\t''
latency\t''
path\t''
ceilings\t''
resources\t''
uptime\t''
lameduck\t''
cert\t''
config\t''
varz\t''"
complete -c check_nats -s w -l warning -d 'When the mode\'s main value is a warning' -r
complete -c check_nats -s c -l critical -d 'When the mode\'s main value is critical' -r
complete -c check_nats -l digest -d 'config: the digest that the configuration must have' -r
complete -c check_nats -l file -d 'config: a file of this machine that must be older than what runs' -r -F
complete -c check_nats -l expect -d 'cluster: number of members that must be present, else the broker\'s own list; path: number of receivers that there must be' -r
complete -c check_nats -l subject -d 'path: the subject that is asked about' -r
complete -c check_nats -l account -d 'path: the account of the publisher, instead of --user' -r
complete -c check_nats -l figure -d 'varz: a number in /varz, by its dotted path' -r
complete -c check_nats -l hold -d 'Say an alert again for this long, so that a retry of the scheduler does not say OK' -r
complete -c check_nats -l sample -d 'Measure twice, this far apart, without a state file' -r
complete -c check_nats -l state -d 'Share the state with all runs of this mode and monitoring URL that give this name, not only with those that have the same options' -r
complete -c check_nats -l state-dir -d 'Folder of the state files, else /var/tmp/check_nats-UID' -r -f -a "(__fish_complete_directories)"
complete -c check_nats -l format -d 'How the result is written' -r -f -a "nagios\t''
json\t''
openmetrics\t''
text\t''"
complete -c check_nats -l service-name -d 'First word of the output' -r
complete -c check_nats -l completions -d 'Print the completions of a shell, exit 3' -r -f -a "bash\t''
fish\t''
zsh\t''"
complete -c check_nats -l ca-warning -d 'When ca_days is a warning' -r
complete -c check_nats -l ca-critical -d 'When ca_days is a warning' -r
complete -c check_nats -l ceiling-time-warning -d 'When ceiling_time is a warning' -r
complete -c check_nats -l ceiling-time-critical -d 'When ceiling_time is a warning' -r
complete -c check_nats -l ceiling-used-warning -d 'When ceiling_used is a warning' -r
complete -c check_nats -l ceiling-used-critical -d 'When ceiling_used is a warning' -r
complete -c check_nats -l cert-warning -d 'When cert_days is a warning' -r
complete -c check_nats -l cert-critical -d 'When cert_days is a warning' -r
complete -c check_nats -l config-age-warning -d 'When config_age is a warning' -r
complete -c check_nats -l config-age-critical -d 'When config_age is a warning' -r
complete -c check_nats -l configs-warning -d 'When configs is a warning' -r
complete -c check_nats -l configs-critical -d 'When configs is a warning' -r
complete -c check_nats -l conn-warning -d 'When connections is a warning' -r
complete -c check_nats -l conn-critical -d 'When connections is a warning' -r
complete -c check_nats -l connect-warning -d 'When connect_time is a warning' -r
complete -c check_nats -l connect-critical -d 'When connect_time is a warning' -r
complete -c check_nats -l cpu-warning -d 'When cpu is a warning' -r
complete -c check_nats -l cpu-critical -d 'When cpu is a warning' -r
complete -c check_nats -l crl-warning -d 'When crl_days is a warning' -r
complete -c check_nats -l crl-critical -d 'When crl_days is a warning' -r
complete -c check_nats -l federation-pending-warning -d 'When federation_pending is a warning' -r
complete -c check_nats -l federation-pending-critical -d 'When federation_pending is a warning' -r
complete -c check_nats -l federation-rtt-warning -d 'When federation_rtt is a warning' -r
complete -c check_nats -l federation-rtt-critical -d 'When federation_rtt is a warning' -r
complete -c check_nats -l federation-silent-warning -d 'When federation_silent is a warning' -r
complete -c check_nats -l federation-silent-critical -d 'When federation_silent is a warning' -r
complete -c check_nats -l federation-up-warning -d 'When federation_up is a warning' -r
complete -c check_nats -l federation-up-critical -d 'When federation_up is a warning' -r
complete -c check_nats -l hubs-missing-warning -d 'When hubs_missing is a warning' -r
complete -c check_nats -l hubs-missing-critical -d 'When hubs_missing is a warning' -r
complete -c check_nats -l in-bytes-warning -d 'When in_bytes_rate is a warning' -r
complete -c check_nats -l in-bytes-critical -d 'When in_bytes_rate is a warning' -r
complete -c check_nats -l in-msgs-warning -d 'When in_msgs_rate is a warning' -r
complete -c check_nats -l in-msgs-critical -d 'When in_msgs_rate is a warning' -r
complete -c check_nats -l lame-duck-warning -d 'When lame_duck is a warning' -r
complete -c check_nats -l lame-duck-critical -d 'When lame_duck is a warning' -r
complete -c check_nats -l latency-max-warning -d 'When latency_max is a warning' -r
complete -c check_nats -l latency-max-critical -d 'When latency_max is a warning' -r
complete -c check_nats -l latency-p50-warning -d 'When latency_p50 is a warning' -r
complete -c check_nats -l latency-p50-critical -d 'When latency_p50 is a warning' -r
complete -c check_nats -l latency-p99-warning -d 'When latency_p99 is a warning' -r
complete -c check_nats -l latency-p99-critical -d 'When latency_p99 is a warning' -r
complete -c check_nats -l leafnode-rtt-warning -d 'When leafnode_rtt is a warning' -r
complete -c check_nats -l leafnode-rtt-critical -d 'When leafnode_rtt is a warning' -r
complete -c check_nats -l leafnodes-warning -d 'When leafnodes is a warning' -r
complete -c check_nats -l leafnodes-critical -d 'When leafnodes is a warning' -r
complete -c check_nats -l logins-warning -d 'When logins_refused_new is a warning' -r
complete -c check_nats -l logins-critical -d 'When logins_refused_new is a warning' -r
complete -c check_nats -l lost-warning -d 'When lost_new is a warning' -r
complete -c check_nats -l lost-critical -d 'When lost_new is a warning' -r
complete -c check_nats -l lost-bytes-warning -d 'When lost_bytes_new is a warning' -r
complete -c check_nats -l lost-bytes-critical -d 'When lost_bytes_new is a warning' -r
complete -c check_nats -l lost-closed-warning -d 'When lost_closed_new is a warning' -r
complete -c check_nats -l lost-closed-critical -d 'When lost_closed_new is a warning' -r
complete -c check_nats -l mem-warning -d 'When mem is a warning' -r
complete -c check_nats -l mem-critical -d 'When mem is a warning' -r
complete -c check_nats -l members-warning -d 'When members is a warning' -r
complete -c check_nats -l members-critical -d 'When members is a warning' -r
complete -c check_nats -l mesh-warning -d 'When mesh_time is a warning' -r
complete -c check_nats -l mesh-critical -d 'When mesh_time is a warning' -r
complete -c check_nats -l no-interest-warning -d 'When no_interest_new is a warning' -r
complete -c check_nats -l no-interest-critical -d 'When no_interest_new is a warning' -r
complete -c check_nats -l nodes-age-warning -d 'When nodes_age is a warning' -r
complete -c check_nats -l nodes-age-critical -d 'When nodes_age is a warning' -r
complete -c check_nats -l nodes-missing-warning -d 'When nodes_missing is a warning' -r
complete -c check_nats -l nodes-missing-critical -d 'When nodes_missing is a warning' -r
complete -c check_nats -l out-bytes-warning -d 'When out_bytes_rate is a warning' -r
complete -c check_nats -l out-bytes-critical -d 'When out_bytes_rate is a warning' -r
complete -c check_nats -l out-msgs-warning -d 'When out_msgs_rate is a warning' -r
complete -c check_nats -l out-msgs-critical -d 'When out_msgs_rate is a warning' -r
complete -c check_nats -l pending-warning -d 'When pending_max is a warning' -r
complete -c check_nats -l pending-critical -d 'When pending_max is a warning' -r
complete -c check_nats -l pending-total-warning -d 'When pending_total is a warning' -r
complete -c check_nats -l pending-total-critical -d 'When pending_total is a warning' -r
complete -c check_nats -l receivers-warning -d 'When receivers is a warning' -r
complete -c check_nats -l receivers-critical -d 'When receivers is a warning' -r
complete -c check_nats -l req-warning -d 'When request_time is a warning' -r
complete -c check_nats -l req-critical -d 'When request_time is a warning' -r
complete -c check_nats -l restarts-warning -d 'When restarts_new is a warning' -r
complete -c check_nats -l restarts-critical -d 'When restarts_new is a warning' -r
complete -c check_nats -l route-ca-warning -d 'When route_ca_days is a warning' -r
complete -c check_nats -l route-ca-critical -d 'When route_ca_days is a warning' -r
complete -c check_nats -l route-cert-warning -d 'When route_cert_days is a warning' -r
complete -c check_nats -l route-cert-critical -d 'When route_cert_days is a warning' -r
complete -c check_nats -l route-crl-warning -d 'When route_crl_days is a warning' -r
complete -c check_nats -l route-crl-critical -d 'When route_crl_days is a warning' -r
complete -c check_nats -l route-tls-warning -d 'When route_tls_new is a warning' -r
complete -c check_nats -l route-tls-critical -d 'When route_tls_new is a warning' -r
complete -c check_nats -l rtt-warning -d 'When rtt is a warning' -r
complete -c check_nats -l rtt-critical -d 'When rtt is a warning' -r
complete -c check_nats -l sched-warning -d 'When sched_p99 is a warning' -r
complete -c check_nats -l sched-critical -d 'When sched_p99 is a warning' -r
complete -c check_nats -l sched-max-warning -d 'When sched_max is a warning' -r
complete -c check_nats -l sched-max-critical -d 'When sched_max is a warning' -r
complete -c check_nats -l slow-warning -d 'When slow_new is a warning' -r
complete -c check_nats -l slow-critical -d 'When slow_new is a warning' -r
complete -c check_nats -l subs-warning -d 'When subscriptions is a warning' -r
complete -c check_nats -l subs-critical -d 'When subscriptions is a warning' -r
complete -c check_nats -l tls-failed-warning -d 'When tls_failed_new is a warning' -r
complete -c check_nats -l tls-failed-critical -d 'When tls_failed_new is a warning' -r
complete -c check_nats -l uptime-warning -d 'When uptime is a warning' -r
complete -c check_nats -l uptime-critical -d 'When uptime is a warning' -r
complete -c check_nats -l versions-warning -d 'When versions is a warning' -r
complete -c check_nats -l versions-critical -d 'When versions is a warning' -r
complete -c check_nats -l violations-warning -d 'When violations_new is a warning' -r
complete -c check_nats -l violations-critical -d 'When violations_new is a warning' -r
complete -c check_nats -l tls -d 'The client port must have TLS, else no login is sent; TLS that the broker requires needs no option'
complete -c check_nats -l tls-first -d 'TLS begins before INFO, as with handshake_first'
complete -c check_nats -l puppet -d 'As --tls, with certificate, key, CA and CRL of this host\'s Puppet agent; a broker on this host must have its certname'
complete -c check_nats -s k -l insecure -d 'Accept any certificate of the broker'
complete -c check_nats -l no-state-update -d 'Only look: the next run compares with the same state as this one'
complete -c check_nats -s v -l verbose -d '-v names more, -vv lists requests, -vvv values'
complete -c check_nats -s V -l version -d 'Print the version, exit 3'
complete -c check_nats -s h -l help -d 'Print this help, exit 3'
complete -c check_nats -l man -d 'Print the manual page as roff, exit 3'
