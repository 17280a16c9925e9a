//! The table of rules. A rule is one entry here and one function beside it,
//! which says what it finds in one sample; the tracker decides when that becomes
//! a finding and when the finding is over.
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

/// What rules go by: one sample of the broker and what was seen before.
pub(super) struct Evidence<'a> {
    pub(super) server: &'a Server,
    pub(super) thresholds: &'a Diagnosis,
    pub(super) sample: &'a Sample,
    pub(super) ceilings: &'a [Ceiling],
    pub(super) history: &'a History,
    /// Starts of the broker within `incident_window`, this one included.
    pub(super) starts: u64,
    /// What a reload would change; `None` before the file was first checked,
    /// and without one.
    pub(super) pending_reload: Option<Outcome>,
}

/// One thing that may be wrong with a broker.
pub struct Rule {
    /// Its name in answers, the manual and checks: stable.
    pub code: &'static str,
    /// Its worst severities and what makes them, for the manual.
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
    /// It comes and goes by itself: it must last, and be gone for a while.
    Lasting,
    /// It holds by its own account: told at once, cleared at once.
    AtOnce,
    /// It must last several times as long: growth that goes on.
    Slow,
    /// Single moments of it count: told at once, and for as long as what happened is
    /// recent, so that whoever asks now and then learns of it.
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
        meaning: "A reader is behind: messages wait in its queue. When the queue reaches \
                  `max_pending` the connection is cut and what waits is lost.",
        cause: "The client does not read its socket as fast as messages arrive.",
        remedy: "Look at the named client: is it busy, stopped, swapping or on a slow link? Give \
                 it less to read (narrower subjects, a queue group with more members) or more \
                 processor. A larger max_pending only helps with short peaks.",
        pace: Pace::Lasting,
        find: readers::slow_now,
    },
    Rule {
        code: "slow-consumer-recent",
        levels: "warning",
        meaning: "Readers were cut off because they were too far behind. What waited for them is \
                  lost. The finding stays for the time `incident_window`.",
        cause: "Their clients did not read as fast as messages arrived.",
        remedy: "Look at /slowz for what happened and at the named clients. Clients reconnect by \
                 themselves; messages of the meantime do not come back.",
        pace: Pace::AtOnce,
        find: readers::slow_recently,
    },
    Rule {
        code: "slow-consumer-predicted",
        levels: "warning",
        meaning: "A reader's queue grows so that it is full within the time `queue_full_within`.",
        cause: "Messages arrive faster than the client reads them, and steadily so.",
        remedy: "Act before it is cut: slow the publishers down, or give the reader less to read \
                 or more processor.",
        pace: Pace::Lasting,
        find: readers::slow_soon,
    },
    Rule {
        code: "publisher-stalled",
        levels: "warning",
        meaning: "Publishers are paused again and again because a reader that does read, a client \
                  or a peer of the cluster, is behind: one slow reader sets the pace of others.",
        cause: "The named reader takes its messages more slowly than they are published. To a \
                peer each message goes with the names of all queue groups there that it is for.",
        remedy: "Speed the named reader up, or take it off the subjects that it cannot keep up \
                 with. Of a peer look at its network and its load, and at clients there with very \
                 many or long queue groups on wide subjects. A peer that stays behind is cut when \
                 its queue is full.",
        pace: Pace::Lasting,
        find: readers::stalling,
    },
    Rule {
        code: "connect-storm",
        levels: "warning",
        meaning: "More clients come and go per second than `storm_rate`.",
        cause: "A network or a broker came back and the fleet reconnects, or a client fails right \
                after its connect and tries again without a pause.",
        remedy: "If it ends by itself, nothing. Else look at the source address and at the \
                 reasons of closed connections (/connz?state=closed); give clients a reconnect \
                 wait with jitter.",
        pace: Pace::Lasting,
        find: clients::storm,
    },
    Rule {
        code: "unauthenticated-flood",
        levels: "warning",
        meaning: "Connections that do not log in fill the places of a port (client, route, \
                  monitor, monitor_socket, or long_handshake: TLS handshakes with much to say), or \
                  logins wait long for their passwords to be compared (passwords). Those that say \
                  nothing for longest are cut, of the address that holds most places; others are \
                  served. The finding stays for the time `incident_window`.",
        cause: "Somebody opens connections and does not use them, or guesses passwords from many \
                addresses; or a fleet comes back at once.",
        remedy: "See midge_before_login_* in /metrics. Find who it is with ss -tn on the host, and \
                 keep it out with a firewall; keep the route and monitoring ports off networks \
                 that need them not.",
        pace: Pace::Sudden,
        find: clients::crowded,
    },
    Rule {
        code: "ceiling-fds",
        levels: ceilings::LEVELS,
        meaning: "File descriptors run out. Each connection takes one; without one no client can \
                  connect.",
        cause: "There are more connections than the process may have open files.",
        remedy: "Raise LimitNOFILE of the service (or ulimit -n) above max_connections and \
                 restart, or close connections.",
        pace: Pace::Lasting,
        find: ceilings::files,
    },
    Rule {
        code: "descriptors-exhausted",
        levels: "critical",
        meaning: "Connections to the named port are refused, as the file descriptors are used up. \
                  The last ones are kept: for routes, monitoring and files those that clients may \
                  not have, for monitoring and files those that routes may not have. The finding \
                  stays for the time `incident_window`; `ready` of /healthz is about now.",
        cause: "There are more connections than the process may have open files.",
        remedy: "Raise LimitNOFILE of the service (or ulimit -n) above max_connections and \
                 restart, or close connections.",
        pace: Pace::Sudden,
        find: ceilings::files_gone,
    },
    Rule {
        code: "ceiling-connections",
        levels: ceilings::LEVELS,
        meaning: "Client connections come close to `max_connections`. Further ones are refused.",
        cause: "The fleet has grown, or clients open connections and do not close them.",
        remedy: "Raise max_connections (and LimitNOFILE), or find who holds many: \
                 /connz?sort=idle shows idle ones.",
        pace: Pace::Lasting,
        find: ceilings::connections,
    },
    Rule {
        code: "ceiling-subscriptions",
        levels: ceilings::LEVELS,
        meaning: "A connection comes close to `max_subscriptions`. Further ones are refused.",
        cause: "A client subscribes again and again and does not unsubscribe, or needs that many.",
        remedy: "Look at the client's subscriptions (/connz?cid=ID&subs=1); mend the client or \
                 raise max_subscriptions.",
        pace: Pace::Lasting,
        find: ceilings::subscriptions,
    },
    Rule {
        code: "ceiling-queues",
        levels: ceilings::LEVELS,
        meaning: "All queues that cannot be written come close to `max_memory`, or to what the \
                  process has left besides all else if that is less. Beyond it the one that holds \
                  most is cut.",
        cause: "Many readers are behind at the same time, or a few hold very much.",
        remedy: "Look at who is behind (/connz?sort=pending, /memz). If it is max_memory that ends \
                 it, raise that as far as the machine has more to give; if it is what the process \
                 has left, give the service more, or see /memz for what else holds the memory.",
        pace: Pace::Lasting,
        find: ceilings::queues,
    },
    Rule {
        code: "ceiling-memory",
        levels: ceilings::LEVELS,
        meaning: "The process comes close to the memory it may use. Beyond it the system ends it.",
        cause: "Queues of slow readers, very many subscriptions or connections: /memz tells.",
        remedy: "See /memz for what holds the memory. Lower max_memory or max_pending, or give \
                 the service more.",
        pace: Pace::Lasting,
        find: ceilings::memory,
    },
    Rule {
        code: "route-missing",
        levels: "critical",
        meaning: "There is no route to a broker that the configuration names, or that was a member \
                  and did not say that it leaves. Messages between its clients and those here do \
                  not arrive. One that only others told of is missed for a day.",
        cause: "The broker is down, cannot be reached, or refuses this one (password, certificate, \
                another name of the cluster).",
        remedy: "See why the last try failed (/clusterz), and the log of the named broker. Take it \
                 out of `routes` and reload if it is gone for good; if others told of it, \
                 POST /forget?member=NAME on the monitoring socket.",
        pace: Pace::Lasting,
        find: routes::missing,
    },
    Rule {
        code: "route-flapping",
        levels: "warning",
        meaning: "The route to a broker was lost again and again: at least `route_losses` times \
                  within the time `incident_window`.",
        cause: "The network between the two loses packets, the other broker restarts, or it cannot \
                take its messages fast enough.",
        remedy: "See the reasons in /eventsz?type=route on both sides.",
        pace: Pace::AtOnce,
        find: routes::flapping,
    },
    Rule {
        code: "route-failing",
        levels: "warning",
        meaning: "Routes to a broker end again and again in the same way, soon after they stand. \
                  The pauses between them grow, to 30 seconds. The finding stays until a route has \
                  stood for a minute, or for the time `incident_window` if that is shorter.",
        cause: "One of the two says what the other does not take, or more than it can take.",
        remedy: "The text names the reason. Compare versions and limits of the two (max_payload, \
                 max_control_line, max_pending), and look at the log of the named broker.",
        pace: Pace::AtOnce,
        find: routes::failing,
    },
    Rule {
        code: "route-slow",
        levels: "warning",
        meaning: "A broker of the cluster is slow: a round trip takes longer than `route_rtt`, \
                  messages wait for it as for a slow consumer, or it has not answered for the time \
                  `route_silence`.",
        cause: "The other broker or its machine is overloaded or stopped, or the network between \
                the two is slow or loses what is sent.",
        remedy: "Look at the named broker (its /explainz, the load of its machine), then at the \
                 network between the two.",
        pace: Pace::Lasting,
        find: routes::slow,
    },
    Rule {
        code: "route-asymmetric",
        levels: "warning",
        meaning: "Members do not see the same mesh: of two of them one has a route to the other \
                  and not the other way about, or neither has one, or a member knows a broker that \
                  this one does not. What clients of the one publish does not reach the other's.",
        cause: "The two cannot reach each other, or their configurations name different brokers.",
        remedy: "Compare the rows of /clusterz, here and there, and the `routes` of the \
                 configurations; look at the log of the two.",
        pace: Pace::Slow,
        find: routes::asymmetric,
    },
    Rule {
        code: "members-differ",
        levels: "warning; info for another version of the program",
        meaning: "Members of the cluster are set up differently where they should be alike: \
                  `max_payload`, `max_control_line`, the accounts that subscriptions are in, the \
                  version of midge or of nats-server.",
        cause: "A configuration or a package was rolled out to some members only.",
        remedy: "Finish the roll-out: give all members the same max_payload, \
                 max_control_line and accounts; a reload is enough, the routes can stand. A \
                 nats-server tells its new max_payload \
                 with its next route.",
        pace: Pace::Lasting,
        find: routes::differ,
    },
    Rule {
        code: "login-failures",
        levels: "warning",
        meaning: "Logins are refused: at least `login_failures` within the time `incident_window`.",
        cause: "A client has wrong or old credentials and tries again and again, or somebody \
                guesses.",
        remedy: "Correct the credentials of the named client; block the address if you do not \
                 know it.",
        pace: Pace::AtOnce,
        find: clients::login_failures,
    },
    Rule {
        code: "permission-violations",
        levels: "warning",
        meaning: "Publishes or subscriptions are refused: at least `violations` within the time \
                  `incident_window`.",
        cause: "A client uses subjects that its user may not use: a wrong subject, or missing \
                permissions.",
        remedy: "See the events (/eventsz?type=auth.violation) for the subjects; correct the \
                 client, or the permissions of its user.",
        pace: Pace::AtOnce,
        find: clients::violations,
    },
    Rule {
        code: "no-responders",
        levels: "warning",
        meaning: "Requests find nobody who listens: at least `no_responders` to one subject \
                  within the time `incident_window`.",
        cause: "The service is down or not yet up, or requests go to a wrong subject.",
        remedy: "Start the service that should answer, or correct the subject.",
        pace: Pace::AtOnce,
        find: subjects::no_responders,
    },
    Rule {
        code: "replies-full",
        levels: "warning",
        meaning: "Requests to services of other accounts are refused: their account waits for as \
                  many replies as it may. Clients that take no-responders answers get one. Other \
                  accounts' requests go on. The finding stays for the time `incident_window`.",
        cause: "The service does not answer, and requests go on.",
        remedy: "Look at the service: is it up, does it answer? A shorter threshold in its export \
                 forgets requests sooner.",
        pace: Pace::AtOnce,
        find: subjects::replies_full,
    },
    Rule {
        code: "imports-cut",
        levels: "warning",
        meaning: "Messages came back to an import of services that they had come through, or \
                  through more than 32 imports one behind the other, or became more than 1024 \
                  requests. They were not taken further.",
        cause: "Imports form a circle that the configuration does not show, through requests to \
                streams or functions in mappings, or a very long chain.",
        remedy: "Look at the imports and mappings of the named account; let each service be \
                 imported from where it is served.",
        pace: Pace::AtOnce,
        find: subjects::imports_cut,
    },
    Rule {
        code: "table-full",
        levels: "warning",
        meaning: "Something is not kept because all of its kind takes too much memory: \
                  `subscriptions` (the client is told), `interest` of peers (messages do not get \
                  there), `permissions` to respond, `replies` that are waited for, \
                  `system_requests` (to the broker itself), `payloads` that are being read (who \
                  sends them is cut). /memz tells \
                  what they hold. The finding stays for the time `incident_window`; of a member of the cluster \
                  of whose interest something is missing here it stays until that is told again.",
        cause: "Somebody subscribes or asks without end, or the process may use too little memory.",
        remedy: "See /memz and /connz?sort=subs for who holds most; give the service more memory, \
                 or limit what clients may do (max_subscriptions).",
        pace: Pace::AtOnce,
        find: broker::table_full,
    },
    Rule {
        code: "no-interest-subjects",
        levels: "info",
        meaning: "Messages are published that nobody hears: at least `no_interest` to one subject \
                  within the time `incident_window`.",
        cause: "The subscriber is down or gone, or the publisher has a typo in its subject.",
        remedy: "See /topz?kind=no_interest for the subjects and their publishers; start the \
                 subscriber, or mend the publisher.",
        pace: Pace::AtOnce,
        find: subjects::no_interest,
    },
    Rule {
        code: "subscription-leak",
        levels: "warning",
        meaning: "A connection gathers subscriptions steadily, or holds many inboxes that never \
                  got a message. At least `leak_subscriptions` of them.",
        cause: "The client subscribes for each request or task and does not unsubscribe.",
        remedy: "Mend the client: unsubscribe, or use one inbox for all requests as current \
                 client libraries do. max_subscriptions bounds the damage.",
        pace: Pace::Slow,
        find: clients::leak,
    },
    Rule {
        code: "config-differs",
        levels: "warning; info if it only waits for a restart",
        meaning: "The configuration file on disk is not what the broker runs with.",
        cause: "The file was changed and not reloaded, or settings in it need a restart, or it \
                has an error, or it cannot be read now.",
        remedy: "Check it with midge -t -c FILE; then reload (SIGHUP), or restart where a setting \
                 needs it.",
        pace: Pace::Lasting,
        find: broker::config_differs,
    },
    Rule {
        code: "log-lost",
        levels: "warning",
        meaning: "The log cannot be written, takes nothing, or is slower than lines come: lines \
                  are lost, but for those that a log server does not take and standard error \
                  does. Nothing else waits for it. /metrics counts the lost ones \
                  (midge_log_lost_lines). The finding stays for the time `incident_window` after one.",
        cause: "The disk is full or hangs, nobody reads the pipe that standard error leads to, or \
                the log server cannot be reached.",
        remedy: "Make room, or mend the named place; log_file and a reload lead the log elsewhere, \
                 SIGUSR1 opens the file anew. The log says how many lines are missing.",
        pace: Pace::AtOnce,
        find: system::log_lost,
    },
    Rule {
        code: "blocked-call",
        levels: "warning",
        meaning: "Something that the broker asked of the system has not come back for seconds: \
                  reading or opening a file, or the address of a name. What needs it waits, such \
                  as a reload; clients and this port do not.",
        cause: "A disk or a network file system hangs, a file is a pipe that nobody writes, or the \
                resolver does not answer.",
        remedy: "Look at the named file or resolver. A reload that waits for it ends when the file \
                 can be read; until then no other one is done.",
        pace: Pace::AtOnce,
        find: system::blocked_call,
    },
    Rule {
        code: DIAGNOSIS_HANGS,
        levels: "critical",
        meaning: "The diagnosis has not looked at the broker for long: at least ten seconds and \
                  five of its intervals. All other findings and figures of it are as old. From 30 \
                  seconds on /healthz says that the broker is not live.",
        cause: "The machine has no processor time for it, the process was stopped, or midge has a \
                defect.",
        remedy: "Look at the load of the machine and at the threads of the process (top -H, gdb \
                 -p PID -batch -ex 'thread apply all bt'); report what they do, and restart.",
        pace: Pace::AtOnce,
        // Found by the age of the report when it is asked for: who hangs sees nothing.
        find: |_| Vec::new(),
    },
    Rule {
        code: "reload-failed",
        levels: "warning",
        meaning: "The last reload failed: the broker runs on with what it had. The finding stays \
                  until a reload succeeds.",
        cause: "The configuration file, or a file that it names, has an error or cannot be read.",
        remedy: "The log says what is wrong and where. Mend it, check it with midge -t -c FILE, and \
                 reload again.",
        pace: Pace::AtOnce,
        find: broker::reload_failed,
    },
    Rule {
        code: "worker-stall",
        levels: "warning; critical from ten times `worker_delay` on",
        meaning: "Work waits for a thread of the broker for longer than `worker_delay`: \
                  everything is late.",
        cause: "The machine is overloaded or the process is short of processor time (CPUQuota, \
                a busy neighbour, swapping).",
        remedy: "Look at the load and the swap of the machine and at cpu in /varz; give the \
                 broker more processor.",
        pace: Pace::Lasting,
        find: broker::worker_stall,
    },
    Rule {
        code: "stale-peers",
        levels: "warning",
        meaning: "Connections were closed because they answered no ping: at least `stale_peers` \
                  within the time `incident_window`.",
        cause: "Hosts or a network went away without a word, a firewall drops idle connections, \
                or clients hang.",
        remedy: "Look at what the named peers have in common: a network, a host, a firewall. A \
                 shorter ping_interval keeps idle connections alive.",
        pace: Pace::AtOnce,
        find: clients::stale,
    },
    Rule {
        code: "restart-loop",
        levels: "warning",
        meaning: "The broker was started at least `restarts` times within the time `incident_window`. \
                  Needs `starts_file`, or the folder that systemd names in STATE_DIRECTORY.",
        cause: "It ends soon after its start, or something restarts it again and again.",
        remedy: "Read the end of the log before each start, and journalctl -u midge.",
        pace: Pace::AtOnce,
        find: broker::restart_loop,
    },
    Rule {
        code: "large-payloads",
        levels: "info; warning if messages were refused",
        meaning: "Messages are close to `max_payload` (`payload_percent`) or were refused for \
                  their size. A refused message costs its publisher the connection.",
        cause: "What is sent grows with the data, or a client sends more than this broker takes.",
        remedy: "Send a reference instead of the data, or split it; or raise max_payload on all \
                 brokers that the message passes.",
        pace: Pace::AtOnce,
        find: subjects::large,
    },
    Rule {
        code: "certificate-expiry",
        levels: certificates::LEVELS,
        meaning: "The broker's own certificate ends soon, or has ended: then no client that \
                  verifies it connects.",
        cause: "It was not renewed yet, or the renewed one is not in cert_file.",
        remedy: "Renew the certificate and put it into cert_file, with its key; it is taken over \
                 without a restart. With Puppet: puppet ssl clean on this host and puppet agent \
                 -t, or let the agent of Puppet 8 renew it.",
        pace: Pace::AtOnce,
        find: certificates::own,
    },
    Rule {
        code: "ca-expiry",
        levels: certificates::LEVELS,
        meaning: "A CA in ca_file ends soon, or has ended: then no certificate that it signed is \
                  believed.",
        cause: "The CA was not renewed yet, or ca_file still has the old one.",
        remedy: "Renew the CA and bring its certificate to ca_file on all brokers and to all \
                 clients. With Puppet: module puppetlabs/ca_extend keeps the key, so that signed \
                 certificates stay valid.",
        pace: Pace::AtOnce,
        find: certificates::authority,
    },
    Rule {
        code: "crl-expiry",
        levels: certificates::CRL_LEVELS,
        meaning: "The successor of a CRL is due soon, or overdue. Once it is, all certificates of \
                  its CA are refused, unless the block `tls` says `crl_expired: warn`.",
        cause: "The CA made no new CRL, or it was not brought to crl_file.",
        remedy: "Let the CA write a new CRL and bring it to crl_file; it is taken over without a \
                 restart. With Puppet: any puppetserver ca revoke or clean writes one; agents \
                 before Puppet 8 do not fetch it by themselves.",
        pace: Pace::AtOnce,
        find: certificates::crl,
    },
    Rule {
        code: "tls-files",
        levels: "warning",
        meaning: "A certificate, key, CA or CRL file has changed and cannot be used. What was \
                  read before stays in force, until the next start, which would fail.",
        cause: "The file is damaged, not readable for the broker's user, or does not belong to \
                the other ones.",
        remedy: "Mend the named file; it is read again by itself. midge -t -c FILE checks it.",
        pace: Pace::AtOnce,
        find: certificates::files,
    },
    Rule {
        code: "tls-gaps",
        levels: "warning; critical if it is about the CA of the broker's own certificate: then \
                 hardly anybody gets in",
        meaning: "The TLS files were read and do not go together: a CA has no CRL while others \
                  have one, or is revoked itself, or did not sign the broker's certificate.",
        cause: "crl_file does not hold the lists of all CAs of the chain, a CA was replaced, or \
                ca_file and cert_file are of different CAs.",
        remedy: "Do what the text says with the named file; it is read again by itself. With \
                 Puppet: the bundles ca.pem and crl.pem of the agent hold all of the chain.",
        pace: Pace::AtOnce,
        find: certificates::gaps,
    },
    Rule {
        code: "handshake-failures",
        levels: "warning",
        meaning: "TLS handshakes fail: at least `handshake_failures` within the time `incident_window`. \
                  Probes that send nothing do not count.",
        cause: "Clients have no certificate, an expired or revoked one or one of another CA, do \
                not believe this broker's, speak no TLS, or cannot read INFO and say nothing \
                (timeout).",
        remedy: "See the events (/eventsz?type=tls.failed) for the addresses and reasons; give \
                 these clients a certificate of the CA in ca_file, or block them.",
        pace: Pace::AtOnce,
        find: certificates::handshakes,
    },
    Rule {
        code: "revoked-clients",
        levels: "warning",
        meaning: "Clients or routes were closed because a new CRL names their certificates. The \
                  finding stays for the time `incident_window`.",
        cause: "The nodes were revoked at the CA and are still running.",
        remedy: "If they were meant to go, switch them off; else give them new certificates.",
        pace: Pace::AtOnce,
        find: certificates::revoked,
    },
    Rule {
        code: "unsafe-clients",
        levels: "warning",
        meaning: "Clients are served beyond this machine, need neither login nor certificate, and \
                  may publish or subscribe to everything, or all but a few subjects.",
        cause: "No users or token are configured and no certificates asked for, or no_auth_user is \
                a user without limits, and the listener is open to the network.",
        remedy: "Configure a login, give the user of no_auth_user permissions that name subjects, ask for certificates (verify in the block tls), or listen on \
                 127.0.0.1 (host, or -a 127.0.0.1).",
        pace: Pace::AtOnce,
        find: broker::unsafe_clients,
    },
    Rule {
        code: "unsafe-monitoring",
        levels: "warning",
        meaning: "The monitoring port is open beyond this machine and asks for no login: it names \
                  clients, addresses and subjects to whoever asks.",
        cause: "`http` names a host other than loopback, and the block `monitor` has neither token \
                nor user.",
        remedy: "Set a token in the block monitor, or leave the port on 127.0.0.1 and reach it \
                 through a tunnel or an agent on the machine.",
        pace: Pace::AtOnce,
        find: broker::unsafe_monitoring,
    },
    Rule {
        code: "no-monitoring",
        levels: "info",
        meaning: "The monitoring port that a broker has where none is named could not be had, and \
                  the broker serves its clients without it.",
        cause: "Another broker, or another program, on this machine has the port.",
        remedy: "Name another port: http_port: 8223 or -m 8223; 0 for none. Or write unix into the \
                 block monitor for a socket beside it.",
        pace: Pace::AtOnce,
        find: broker::no_monitoring,
    },
];

/// The code of what is told of an old report; see `Report::at`.
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

/// A symptom of warning level of the broker as a whole.
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
