//! The table of rules. A rule is one entry here and one function beside it, which
//! returns the symptoms that one sample shows. The tracker decides when a symptom
//! becomes a finding and when the finding is over.
//!
//! The manual (`docs/findings.md`) is made from the table.

mod broker;
mod ceilings;
mod certificates;
mod clients;
mod manual;
mod readers;
mod routes;
mod subjects;
mod system;

use std::time::Duration;

use super::{
    ceiling::Ceiling,
    history::History,
    tracker::{Hysteresis, Severity, Symptom},
};
use crate::{
    config::Diagnosis,
    observe::sample::Sample,
    server::{Server, reload::Outcome},
};
pub use manual::manual;

/// What rules judge: one sample of the broker, and what earlier samples showed.
pub(super) struct Evidence<'a> {
    pub(super) server: &'a Server,
    /// The options in force.
    pub(super) thresholds: &'a Diagnosis,
    pub(super) sample: &'a Sample,
    pub(super) ceilings: &'a [Ceiling],
    pub(super) history: &'a History,
    /// Starts of the broker within `incident_window`, this one included.
    pub(super) starts: u64,
    /// What a reload would change; `None` before the file was read for the first
    /// time, and without a file.
    pub(super) pending_reload: Option<Outcome>,
}

/// One thing that may be wrong with a broker.
pub struct Rule {
    /// Its name in answers, the manual and checks: stable.
    pub code: &'static str,
    /// Its severities and when each applies, for the manual.
    levels: &'static str,
    /// What it means, for the manual.
    meaning: &'static str,
    /// The likely cause.
    pub(super) cause: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
    pace: Pace,
    pub(super) find: fn(&Evidence) -> Vec<Symptom>,
}

/// How quickly a symptom becomes a finding and clears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// A fluctuating condition: it must last to appear, and be absent for a while to clear.
    Lasting,
    /// The rule itself decides how long it holds: appears and clears immediately.
    AtOnce,
    /// It must last several times as long: continuing growth.
    Slow,
    /// A single moment counts: appears immediately, and stays as long as the event is
    /// recent, so that a check that runs only from time to time reports it.
    Sudden,
}

impl Rule {
    /// How long a symptom must last to appear, and be gone to clear.
    pub(super) fn hysteresis(&self, thresholds: &Diagnosis) -> Hysteresis {
        let Diagnosis {
            appear_after,
            clear_after,
            incident_window,
            ..
        } = *thresholds;
        let (appear, clear) = match self.pace {
            Pace::AtOnce => (Duration::ZERO, Duration::ZERO),
            Pace::Lasting => (appear_after, clear_after),
            Pace::Slow => (appear_after * 5, clear_after),
            Pace::Sudden => (Duration::ZERO, clear_after.max(incident_window)),
        };
        Hysteresis {
            appear,
            clear,
            ongoing: clear_after,
        }
    }
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        code: "slow-consumer",
        levels: "warning; critical from 75 % of `max_pending` on",
        meaning: "A client reads more slowly than messages arrive for it, so they wait in its \
                  queue. When the queue reaches `max_pending`, midge closes the connection and \
                  what waits is lost.",
        cause: "The client does not read its socket as fast as messages arrive.",
        remedy: "Look at the named client: is it busy, stopped, swapping, or on a slow link? Give \
                 it fewer messages (narrower subjects, more members in its queue group) or more \
                 CPU. A larger max_pending helps only against short peaks.",
        pace: Pace::Lasting,
        find: readers::slow_now,
    },
    Rule {
        code: "slow-consumer-recent",
        levels: "warning",
        meaning: "midge closed clients because they were too far behind. The messages that waited \
                  for them are lost. The finding stays for the time `incident_window`.",
        cause: "These clients did not read as fast as messages arrived.",
        remedy: "Open /slowz: it shows each incident with its cause, the subjects that waited and \
                 who published them. Then look at the named clients. They reconnect by themselves, \
                 but the lost messages do not come back.",
        pace: Pace::AtOnce,
        find: readers::slow_recently,
    },
    Rule {
        code: "slow-consumer-predicted",
        levels: "warning",
        meaning: "A client's queue grows steadily and will be full within the time \
                  `queue_full_within`.",
        cause: "Messages arrive faster than the client reads them, and this does not change.",
        remedy: "Act before midge closes the connection: slow the publishers down, or give the \
                 client fewer messages or more CPU. /slowz names the publishers.",
        pace: Pace::Lasting,
        find: readers::slow_soon,
    },
    Rule {
        code: "publisher-stalled",
        levels: "warning",
        meaning: "midge pauses publishers again and again because a reader (a client or another \
                  broker of the cluster) reads, but is behind. One slow reader slows the \
                  publishers down.",
        cause: "The named reader takes its messages more slowly than they are published. To \
                another broker, each message carries the names of all queue groups there that it \
                is for.",
        remedy: "Make the named reader faster, or unsubscribe it from the subjects that it cannot \
                 keep up with. If it is a broker, check its load and the network to it, and look \
                 there for clients with very many or very long queue group names on wide subjects. \
                 A broker that stays behind is disconnected when its queue is full.",
        pace: Pace::Lasting,
        find: readers::stalling,
    },
    Rule {
        code: "connect-storm",
        levels: "warning",
        meaning: "More clients connect and disconnect per second than `storm_rate` allows.",
        cause: "A network or a broker came back and all clients reconnect, or a client fails right \
                after it connects and retries without a pause.",
        remedy: "If it stops by itself, do nothing. If not, look at the named address and at why \
                 connections end (/connz?state=closed), and give the clients a reconnect wait with \
                 jitter.",
        pace: Pace::Lasting,
        find: clients::storm,
    },
    Rule {
        code: "unauthenticated-flood",
        levels: "warning",
        meaning: "Connections that do not log in use up the places that a port has for them \
                  (client, route, monitor, monitor_socket, or long_handshake: TLS handshakes with \
                  a lot of data), or logins wait long for their password check (passwords). midge \
                  closes the connections that have been silent longest, from the address that has \
                  the most, and serves everybody else. The finding stays for the time \
                  `incident_window`.",
        cause: "Somebody opens connections without using them, or guesses passwords from many \
                addresses; or many clients reconnect at once.",
        remedy: "Find the address with `ss -tn` on this host and block it in the firewall. \
                 midge_before_login_* in /metrics has the counts. Keep the route and monitoring \
                 ports off networks that do not need them.",
        pace: Pace::Sudden,
        find: clients::crowded,
    },
    Rule {
        code: "ceiling-fds",
        levels: ceilings::LEVELS,
        meaning: "File descriptors are running out. Each connection takes one; when none is left, \
                  no client can connect.",
        cause: "There are more connections than the process may open files.",
        remedy: "Raise LimitNOFILE of the service (`systemctl edit midge`; or `ulimit -n`) above \
                 max_connections and restart, or close connections.",
        pace: Pace::Lasting,
        find: ceilings::files,
    },
    Rule {
        code: "descriptors-exhausted",
        levels: "critical",
        meaning: "The named port refused connections because no file descriptor was left for it. \
                  The last ones are reserved: clients leave some to routes, monitoring and files; \
                  routes leave some to monitoring and files. The finding stays for the time \
                  `incident_window`; `ready` of /healthz shows the present state.",
        cause: "There are more connections than the process may open files.",
        remedy: "Raise LimitNOFILE of the service (`systemctl edit midge`; or `ulimit -n`) above \
                 max_connections and restart, or close connections.",
        pace: Pace::Sudden,
        find: ceilings::files_gone,
    },
    Rule {
        code: "ceiling-connections",
        levels: ceilings::LEVELS,
        meaning: "The number of clients comes close to `max_connections`. Further ones are \
                  refused.",
        cause: "There are more clients than before, or clients open connections and do not close \
                them.",
        remedy: "Raise max_connections (and LimitNOFILE), or find out which client holds many: \
                 /connz?sort=idle lists idle connections first.",
        pace: Pace::Lasting,
        find: ceilings::connections,
    },
    Rule {
        code: "ceiling-subscriptions",
        levels: ceilings::LEVELS,
        meaning: "A connection comes close to `max_subscriptions`. Further subscriptions are \
                  refused.",
        cause: "The client subscribes again and again without unsubscribing, or it needs that \
                many.",
        remedy: "Look at its subscriptions (/connz?cid=ID&subs=1). Fix the client, or raise \
                 max_subscriptions.",
        pace: Pace::Lasting,
        find: ceilings::subscriptions,
    },
    Rule {
        code: "ceiling-queues",
        levels: ceilings::LEVELS,
        meaning: "The messages that wait for all readers together come close to `max_memory`, or \
                  to the memory that the process has left, if that is less. At the limit, the \
                  connection that holds most is closed.",
        cause: "Many readers are behind at the same time, or a few are very far behind.",
        remedy: "Open /connz?sort=pending to see who is behind. If max_memory is the limit, raise \
                 it as far as the machine allows. If the memory of the process is the limit, give \
                 the service more, or see /memz for what else holds it.",
        pace: Pace::Lasting,
        find: ceilings::queues,
    },
    Rule {
        code: "ceiling-memory",
        levels: ceilings::LEVELS,
        meaning: "The process comes close to the memory that it may use. At the limit, the system \
                  kills it.",
        cause: "Usually the queues of slow readers, or very many subscriptions or connections. \
                /memz shows which.",
        remedy: "Open /memz to see what holds the memory. Lower max_memory or max_pending, or give \
                 the service more memory.",
        pace: Pace::Lasting,
        find: ceilings::memory,
    },
    Rule {
        code: "route-missing",
        levels: "critical",
        meaning: "There is no route to a broker that the configuration names, or that was a member \
                  and did not say that it leaves. Messages between its clients and the clients \
                  here do not arrive. A broker known only from other members counts as missing for \
                  a day.",
        cause: "That broker is down, cannot be reached, or refuses this one (password, \
                certificate, another cluster name).",
        remedy: "Read why the last attempt failed (/clusterz), and the log of the named broker. If \
                 it is gone for good, remove it from `routes` and reload; if only other members \
                 named it, send POST /forget?member=NAME to the monitoring socket.",
        pace: Pace::Lasting,
        find: routes::missing,
    },
    Rule {
        code: "route-flapping",
        levels: "warning",
        meaning: "The route to a broker was lost at least `route_losses` times within the time \
                  `incident_window`.",
        cause: "The network between the two loses packets, the other broker restarts, or it cannot \
                take its messages fast enough.",
        remedy: "Read the reasons in /eventsz?type=route on both brokers.",
        pace: Pace::AtOnce,
        find: routes::flapping,
    },
    Rule {
        code: "route-failing",
        levels: "warning",
        meaning: "Routes to a broker end again and again for the same reason, soon after they \
                  start. The pauses between attempts grow to 30 seconds. The finding stays until a \
                  route has lasted for a minute, or for the time `incident_window` if that is \
                  shorter.",
        cause: "One of the two brokers sends something that the other does not accept, or more \
                than it can take.",
        remedy: "The text names the reason. Compare the versions and limits of the two brokers \
                 (max_payload, max_control_line, max_pending), and read the log of the named one.",
        pace: Pace::AtOnce,
        find: routes::failing,
    },
    Rule {
        code: "route-slow",
        levels: "warning",
        meaning: "Another broker of the cluster is slow: a round trip takes longer than \
                  `route_rtt`, messages wait for it as for a slow consumer, or it has not answered \
                  for the time `route_silence`.",
        cause: "That broker or its host is overloaded or stopped, or the network between the two \
                is slow or loses packets.",
        remedy: "Check the named broker first (its /explainz, the load of its host), then the \
                 network between the two.",
        pace: Pace::Lasting,
        find: routes::slow,
    },
    Rule {
        code: "route-asymmetric",
        levels: "warning",
        meaning: "Members do not see the same mesh: one has a route to another that does not see \
                  it, or two have no route to each other, or a member has a route to a broker that \
                  this one does not know. Messages between the clients of these brokers do not \
                  arrive.",
        cause: "The two brokers cannot reach each other, or their configurations name different \
                brokers.",
        remedy: "Compare /clusterz on both brokers and the `routes` in their configurations, and \
                 read both logs.",
        pace: Pace::Slow,
        find: routes::asymmetric,
    },
    Rule {
        code: "members-differ",
        levels: "warning; info if only the versions differ",
        meaning: "Members of the cluster differ in something that should be the same: \
                  `max_payload`, `max_control_line`, the accounts that have subscriptions, or the \
                  version of midge or nats-server.",
        cause: "A configuration or a package was rolled out to some members only.",
        remedy: "Finish the roll-out: give all members the same max_payload, max_control_line and \
                 accounts, then reload; routes stay connected. A nats-server announces its new \
                 max_payload only with its next route.",
        pace: Pace::Lasting,
        find: routes::differ,
    },
    Rule {
        code: "login-failures",
        levels: "warning",
        meaning: "At least `login_failures` logins were refused within the time `incident_window`.",
        cause: "A client has wrong or old credentials and retries, or somebody guesses passwords.",
        remedy: "Correct the credentials of the named client. Block the address if you do not know \
                 it.",
        pace: Pace::AtOnce,
        find: clients::login_failures,
    },
    Rule {
        code: "permission-violations",
        levels: "warning",
        meaning: "At least `violations` publishes or subscriptions were refused within the time \
                  `incident_window`.",
        cause: "A client uses a subject that its user may not use: the subject is wrong, or a \
                permission is missing.",
        remedy: "Find the subjects in /eventsz?type=auth.violation. Then correct the client, or \
                 the permissions of its user.",
        pace: Pace::AtOnce,
        find: clients::violations,
    },
    Rule {
        code: "no-responders",
        levels: "warning",
        meaning: "At least `no_responders` requests to one subject found no subscriber within the \
                  time `incident_window`.",
        cause: "The service is down or not started yet, or the requests go to a wrong subject.",
        remedy: "Start the service that should answer, or correct the subject in the client.",
        pace: Pace::AtOnce,
        find: subjects::no_responders,
    },
    Rule {
        code: "replies-full",
        levels: "warning",
        meaning: "Requests to services of other accounts are refused, because the account already \
                  waits for as many replies as it may. Clients that ask for no-responders answers \
                  get one. Other accounts are not affected. The finding stays for the time \
                  `incident_window`.",
        cause: "The service does not answer, and clients keep sending requests.",
        remedy: "Check the service: is it running, does it answer? A shorter `threshold` in its \
                 export forgets unanswered requests sooner.",
        pace: Pace::AtOnce,
        find: subjects::replies_full,
    },
    Rule {
        code: "imports-cut",
        levels: "warning",
        meaning: "Messages were dropped at an import: they had come through it before, or through \
                  more than 32 imports in a row, or one message became more than 1024 requests.",
        cause: "Imports form a loop that the configuration alone does not show (through requests \
                to streams, or functions in mappings), or a very long chain.",
        remedy: "Look at the imports and mappings of the named account. Import each service \
                 directly from the account that serves it.",
        pace: Pace::AtOnce,
        find: subjects::imports_cut,
    },
    Rule {
        code: "table-full",
        levels: "warning",
        meaning: "midge refuses or forgets something because all of its kind takes too much \
                  memory: `subscriptions` (the client gets an error), `interest` of other brokers \
                  (messages do not get there), `permissions` to respond, `replies` that are waited \
                  for, `system_requests` (to the broker itself), `payloads` that are being read \
                  (the publisher is closed). /memz shows how much they hold. The finding stays for \
                  the time `incident_window`; for interest of another broker it stays until that \
                  broker has sent it again.",
        cause: "A client subscribes or sends requests without end, or the process may use too \
                little memory.",
        remedy: "Open /memz and /connz?sort=subs to see who holds most. Give the service more \
                 memory, or limit the clients (max_subscriptions).",
        pace: Pace::AtOnce,
        find: broker::table_full,
    },
    Rule {
        code: "no-interest-subjects",
        levels: "info",
        meaning: "At least `no_interest` messages to one subject reached no subscriber within the \
                  time `incident_window`.",
        cause: "The subscriber is down or gone, or the publisher has a typo in its subject.",
        remedy: "Open /topz for the subjects (`no_interest`) and their publishers. Start the \
                 subscriber, or fix the publisher.",
        pace: Pace::AtOnce,
        find: subjects::no_interest,
    },
    Rule {
        code: "subscription-leak",
        levels: "warning",
        meaning: "A connection keeps adding subscriptions, or holds many inboxes that never got a \
                  message: at least `leak_subscriptions` of them.",
        cause: "The client subscribes for each request or task and does not unsubscribe.",
        remedy: "Fix the client: unsubscribe, or use one inbox for all requests as current client \
                 libraries do. Until then max_subscriptions limits the damage.",
        pace: Pace::Slow,
        find: clients::leak,
    },
    Rule {
        code: "config-differs",
        levels: "warning; info if it only waits for a restart",
        meaning: "The configuration file on disk differs from what the broker runs with.",
        cause: "The file was changed but not reloaded, or a changed setting needs a restart, or \
                the file has an error or cannot be read.",
        remedy: "Check it with `midge -t -c FILE`. Then reload (`midge --signal reload=PID`), or \
                 restart where a setting needs it.",
        pace: Pace::Lasting,
        find: broker::config_differs,
    },
    Rule {
        code: "log-lost",
        levels: "warning",
        meaning: "Log lines are lost: the log cannot be written, hangs, or is too slow. Nothing \
                  else waits for it. Lines that a log server does not take go to standard error \
                  and are not lost. midge_log_lost_lines in /metrics counts the lost ones. The \
                  finding stays for the time `incident_window` after the last one.",
        cause: "The disk is full or hangs, nobody reads the pipe that standard error goes to, or \
                the log server cannot be reached.",
        remedy: "Free space on the disk (`df -h`), or repair what the text names. To log \
                 elsewhere, change log_file and reload; to reopen the file, send SIGUSR1. The log \
                 itself says how many lines are missing.",
        pace: Pace::AtOnce,
        find: system::log_lost,
    },
    Rule {
        code: "blocked-call",
        levels: "warning",
        meaning: "A call to the system has not returned for seconds: opening or reading a file, or \
                  resolving a host name. What needs its result waits, for example a reload; \
                  clients and this port do not.",
        cause: "A disk or a network file system hangs, a file is a pipe that nobody writes to, or \
                the resolver does not answer.",
        remedy: "Check the named file or resolver. A reload that waits for it goes on when the \
                 file can be read; until then no other reload starts.",
        pace: Pace::AtOnce,
        find: system::blocked_call,
    },
    Rule {
        code: DIAGNOSIS_HANGS,
        levels: "critical",
        meaning: "The diagnosis has not checked the broker for at least ten seconds and five of \
                  its intervals. All other findings and their numbers are as old. After 30 seconds \
                  /healthz says that the broker is not live.",
        cause: "The machine has no CPU time for it, the process was stopped, or midge has a bug.",
        remedy: "Check the load of the machine and the threads of the process (top -H, gdb -p PID \
                 -batch -ex 'thread apply all bt'). Keep the output for a bug report, and restart.",
        pace: Pace::AtOnce,
        // Found by the age of the report when it is asked for: a diagnosis that hangs finds
        // nothing.
        find: |_| Vec::new(),
    },
    Rule {
        code: "reload-failed",
        levels: "warning",
        meaning: "The last reload failed. The broker keeps its old configuration. The finding \
                  stays until a reload succeeds.",
        cause: "The configuration file, or a file that it names, has an error or cannot be read.",
        remedy: "The log says what is wrong and where. Correct it, check it with `midge -t -c \
                 FILE`, and reload again.",
        pace: Pace::AtOnce,
        find: broker::reload_failed,
    },
    Rule {
        code: "worker-stall",
        levels: "warning; critical from ten times `worker_delay` on",
        meaning: "Work waits longer than `worker_delay` for a thread of the broker: everything is \
                  late.",
        cause: "The machine is overloaded, or the process gets too little CPU time (CPUQuota, a \
                busy neighbour, swapping).",
        remedy: "Check the load and swap of the machine (`top`, `vmstat 1`) and cpu in /varz. Give \
                 the broker more CPU.",
        pace: Pace::Lasting,
        find: broker::worker_stall,
    },
    Rule {
        code: "stale-peers",
        levels: "warning",
        meaning: "At least `stale_peers` connections were closed within the time `incident_window` \
                  because they answered no ping.",
        cause: "Hosts or a network disappeared, a firewall drops idle connections, or clients \
                hang.",
        remedy: "Find what the named clients have in common: a network, a host, a firewall. A \
                 shorter ping_interval keeps idle connections alive.",
        pace: Pace::AtOnce,
        find: clients::stale,
    },
    Rule {
        code: "restart-loop",
        levels: "warning",
        meaning: "The broker was started at least `restarts` times within the time \
                  `incident_window`. This needs `starts_file`, or the folder that systemd names in \
                  STATE_DIRECTORY.",
        cause: "The broker ends soon after its start, or something restarts it again and again.",
        remedy: "Read the end of the log before each start: `journalctl -u midge`.",
        pace: Pace::AtOnce,
        find: broker::restart_loop,
    },
    Rule {
        code: "large-payloads",
        levels: "info; warning if messages were refused",
        meaning: "Messages are close to `max_payload` (`payload_percent`), or were refused because \
                  they are larger. A refused message costs its publisher the connection.",
        cause: "The data grows and the messages grow with it, or a client sends more than this \
                broker accepts.",
        remedy: "Send a reference instead of the data, or split it; or raise max_payload on all \
                 brokers that the message passes.",
        pace: Pace::AtOnce,
        find: subjects::large,
    },
    Rule {
        code: "certificate-expiry",
        levels: certificates::LEVELS,
        meaning: "The broker's own certificate expires soon, or has expired. Once it has, no \
                  client that verifies it connects.",
        cause: "It was not renewed yet, or the renewed one is not in cert_file.",
        remedy: "Renew the certificate and write it and its key to cert_file and key_file; midge \
                 loads them without a restart. With Puppet: `puppet ssl clean` and `puppet agent \
                 -t` on this host, or let the agent of Puppet 8 renew it.",
        pace: Pace::AtOnce,
        find: certificates::own,
    },
    Rule {
        code: "ca-expiry",
        levels: certificates::LEVELS,
        meaning: "A CA in ca_file expires soon, or has expired. Once it has, no certificate that \
                  it signed is accepted.",
        cause: "The CA was not renewed yet, or ca_file still has the old one.",
        remedy: "Renew the CA and copy its certificate to ca_file on all brokers and to all \
                 clients. With Puppet: the module puppetlabs/ca_extend keeps the key, so that \
                 signed certificates stay valid.",
        pace: Pace::AtOnce,
        find: certificates::authority,
    },
    Rule {
        code: "crl-expiry",
        levels: certificates::CRL_LEVELS,
        meaning: "A CRL expires soon, or has expired: its CA should have published the next one by \
                  then. Once it has, all certificates of its CA are refused, unless the block \
                  `tls` says `crl_expired: warn`.",
        cause: "The CA made no new CRL, or it was not copied to crl_file.",
        remedy: "Let the CA write a new CRL and copy it to crl_file; midge loads it without a \
                 restart. With Puppet: any `puppetserver ca revoke` or `clean` writes one; agents \
                 before Puppet 8 do not fetch it by themselves.",
        pace: Pace::AtOnce,
        find: certificates::crl,
    },
    Rule {
        code: "tls-files",
        levels: "warning",
        meaning: "A certificate, key, CA or CRL file has changed and cannot be used. midge keeps \
                  what it read before, but the next start would fail.",
        cause: "The file is damaged, the broker's user may not read it, or it does not match the \
                other files.",
        remedy: "Correct the named file; midge reads it again by itself. `midge -t -c FILE` checks \
                 it.",
        pace: Pace::AtOnce,
        find: certificates::files,
    },
    Rule {
        code: "tls-gaps",
        levels: "warning; critical if it is about the CA of the broker's own certificate: then \
                 almost no client can connect",
        meaning: "The TLS files can be read but do not fit together: a CA has no CRL while others \
                  have one, a CA is revoked itself, or no CA in ca_file signed the broker's \
                  certificate.",
        cause: "crl_file does not hold the CRLs of all CAs of the chain, a CA was replaced, or \
                ca_file and cert_file come from different CAs.",
        remedy: "Do what the text says with the named file; midge reads it again by itself. With \
                 Puppet: the agent's bundles ca.pem and crl.pem hold the whole chain.",
        pace: Pace::AtOnce,
        find: certificates::gaps,
    },
    Rule {
        code: "handshake-failures",
        levels: "warning",
        meaning: "At least `handshake_failures` TLS handshakes failed within the time \
                  `incident_window`. Probes that send nothing do not count.",
        cause: "Clients have no certificate, or one that is expired, revoked or of another CA; \
                they do not trust this broker's certificate; they do not speak TLS; or they wait \
                without a word (timeout).",
        remedy: "Find addresses and reasons in /eventsz?type=tls.failed. Give these clients a \
                 certificate of the CA in ca_file, or block them.",
        pace: Pace::AtOnce,
        find: certificates::handshakes,
    },
    Rule {
        code: "revoked-clients",
        levels: "warning",
        meaning: "Clients or routes were closed because a new CRL lists their certificates. The \
                  finding stays for the time `incident_window`.",
        cause: "The nodes were revoked at the CA and are still running.",
        remedy: "If that was intended, switch them off. If not, give them new certificates.",
        pace: Pace::AtOnce,
        find: certificates::revoked,
    },
    Rule {
        code: "unsafe-clients",
        levels: "warning",
        meaning: "Clients from other machines need neither a login nor a certificate, and may \
                  publish or subscribe to everything, or to all but a few subjects.",
        cause: "The listener is open to the network, and there are no users, no token and no \
                certificates required; or no_auth_user is a user without limits.",
        remedy: "Configure a login (authorization), or give the user of no_auth_user permissions \
                 that name subjects, or require certificates (verify in the block tls), or listen \
                 on this machine only (host: 127.0.0.1, or -a 127.0.0.1).",
        pace: Pace::AtOnce,
        find: broker::unsafe_clients,
    },
    Rule {
        code: "unsafe-monitoring",
        levels: "warning",
        meaning: "The monitoring port is open to other machines and needs no login: it shows \
                  clients, addresses and subjects to anybody.",
        cause: "`http` names an address other than loopback, and the block `monitor` has neither a \
                token nor a user.",
        remedy: "Set a token in the block monitor. Or keep the port on 127.0.0.1 and reach it \
                 through a tunnel (`ssh -L 8222:127.0.0.1:8222 HOST`) or an agent on the machine.",
        pace: Pace::AtOnce,
        find: broker::unsafe_monitoring,
    },
    Rule {
        code: "no-monitoring",
        levels: "info",
        meaning: "The default monitoring port could not be opened. midge serves its clients \
                  without one.",
        cause: "Another broker, or another program, on this machine uses the port.",
        remedy: "Choose another port: http_port: 8223 in the file, or -m 8223; 0 for none. Or set \
                 `unix` in the block monitor for a Unix socket.",
        pace: Pace::AtOnce,
        find: broker::no_monitoring,
    },
];

/// The code of the finding about an old report; see `Report::at`.
pub(super) const DIAGNOSIS_HANGS: &str = "diagnosis-hangs";

/// The codes of the rules that compare the members of the mesh.
pub const ABOUT_THE_MESH: &[&str] = &[
    "route-missing",
    "route-flapping",
    "route-failing",
    "route-slow",
    "route-asymmetric",
    "members-differ",
];

/// A symptom of severity warning about `subject`.
fn warning(subject: &str, cid: u64, text: String) -> Symptom {
    Symptom {
        severity: Severity::Warning,
        subject: subject.to_owned(),
        cid,
        text,
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_fit_an_anchor() {
        let codes: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
        assert_eq!(codes.len(), RULES.len());
        assert!(ABOUT_THE_MESH.iter().all(|code| codes.contains(code)));
        for rule in RULES {
            let fit = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(rule.code.chars().all(fit), "{}", rule.code);
            for text in [rule.meaning, rule.cause, rule.remedy] {
                assert!(text.ends_with('.'), "{}: {text}", rule.code);
            }
        }
    }
}
