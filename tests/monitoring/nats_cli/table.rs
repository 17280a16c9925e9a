//! The commands that are compared, and the differences that remain, with their reasons.

/// A command that both sides run.
pub struct Command {
    /// User and password; empty for none.
    pub user: &'static str,
    /// Its arguments, separated by blanks. `SERVERID` stands for the id of the broker.
    pub line: &'static str,
    /// Lines, in their comparable form, that only one side prints.
    pub differences: &'static [Difference],
}

/// Lines that only one side prints.
pub struct Difference {
    /// The reason.
    pub why: &'static str,
    /// Lines of midge's.
    pub midge: &'static [&'static str],
    /// Lines of nats-server's.
    pub nats: &'static [&'static str],
}

const fn same(user: &'static str, line: &'static str) -> Command {
    differs(user, line, &[])
}

const fn differs(
    user: &'static str,
    line: &'static str,
    differences: &'static [Difference],
) -> Command {
    Command {
        user,
        line,
        differences,
    }
}

/// With thresholds that a busy machine does not reach.
const PATIENT_CHECK: &str = "server check connection --timeout 30s --connect-warn 30s \
                             --connect-critical 30s --rtt-warn 30s --rtt-critical 30s \
                             --req-warn 30s --req-critical 30s";

const WEIGHTS: &[Difference] = &[Difference {
    why: "nats-server counts the weights of mappings up, and the last one is always 100",
    midge: &["          Destination: two, with weight 50"],
    nats: &["          Destination: two"],
}];

/// One broker without users.
pub const PLAIN: &[Command] = &[
    same("", "rtt"),
    same("", "account info"),
    same("", "pub orders.1 hello"),
    same("", "pub orders.2 hello --count 3 -H A:b"),
    same("", "req svc.time x"),
    same("", "req svc.time x --replies 1 --timeout 1s"),
    same("", "req nobody x"),
    same("", "req echo x"),
    same("", "trace orders.1"),
    same("", "trace orders.1 hello --deliver"),
    same("", "trace orders.1 hello -H X:y --timestamp"),
    same("", "trace jobs"),
    same("", "trace nobody"),
    same("", "service list --timeout 1s"),
    same("", "service ping --timeout 1s"),
    same("", "service info echo --timeout 1s"),
    same("", "service stats echo --timeout 1s"),
    same("", "service request echo echo hello --timeout 1s"),
    same("", "bench pub bulk --msgs 100 --size 16 --no-progress"),
    same("", PATIENT_CHECK),
    same("", "server check request svc.time --payload x"),
    same("", "server check jetstream"),
    same("", "server list"),
    same("", "server info"),
    same("", "server ping 1 --timeout 1s"),
    same("", "account report connections"),
    same("", "account report statistics"),
    same("", "account tls"),
    same("", "stream list --timeout 1s"),
    same("", "kv list --timeout 1s"),
];

/// One broker with users that have permissions.
pub const USERS: &[Command] = &[
    same("admin", "account info"),
    same("low", "account info --timeout 1s"),
    same("replier", "account info --timeout 1s"),
    same("low", "rtt"),
    same("low", "pub in.x hello"),
    same("low", "pub other hello"),
    same("low", "sub other --count 1"),
    same("low", "sub out.secret --count 1"),
    same("low", "req in.svc x --timeout 1s"),
    same("admin", "req svc.time x"),
    same("wrong", "pub x y"),
    same("", "pub x y"),
    same("admin", "trace out.x"),
    same("low", "trace in.x"),
    same("low", "trace other"),
    same("shut", "trace in.x --timeout 1s"),
    same("low", "server list --timeout 1s"),
    same("low", "top srv0 --output /dev/stdout --timeout 1s"),
];

/// One broker with accounts that share subjects, and a system account.
pub const ACCOUNTS: &[Command] = &[
    same("s", "server list"),
    same("s", "server list --json"),
    same("s", "server list 1 --sort name --compact"),
    same("s", "server info"),
    same("s", "server info srv0"),
    same("s", "server ping 1"),
    same("s", "server ping 1 --id"),
    same("s", "server report connections --account A"),
    same(
        "s",
        "server report connections --account A --subject orders.x",
    ),
    same("s", "server report connections --sort subs"),
    same("s", "server report accounts"),
    same("s", "server report accounts A"),
    same("s", "server report cpu"),
    same("s", "server report mem"),
    same("s", "server report routes"),
    same("s", "server report gateways"),
    same("s", "server report leafnodes"),
    same("s", "server report jetstream"),
    same("s", "server report health"),
    same("s", "server request variables 1"),
    same(
        "s",
        "server request connections 1 --filter-account A --subscriptions",
    ),
    same(
        "s",
        "server request connections 1 --filter-state closed --filter-account B",
    ),
    same("s", "server request connections 1 --tags AZ:1 --tags rack"),
    same(
        "s",
        "server request connections 1 --tags az:1 --filter-account B",
    ),
    same(
        "s",
        "server request connections 1 --name srv0 --filter-account B",
    ),
    same("s", "server request connections 1 --name srv --timeout 1s"),
    same(
        "s",
        "server request connections 1 --cluster none --timeout 1s",
    ),
    same("s", "server request subscriptions 1"),
    same(
        "s",
        "server request subscriptions 1 --detail --filter-account B --filter-subject a.news.x",
    ),
    same("s", "server request routes 1"),
    same("s", "server request gateways 1"),
    same("s", "server request leafnodes 1"),
    same("s", "server request accounts 1"),
    same("s", "server request accounts 1 --account B"),
    same("s", "server request jetstream 1"),
    same("s", "server request jetstream-health 1"),
    same("s", "server request ipqueue --filter nosuch"),
    same("s", "server request raft"),
    same("s", "server request profile heap"),
    same("s", "server request profile nosuch"),
    same("s", "server request kick 999999 SERVERID"),
    same("s", "server request kick 1 NOSUCH --timeout 1s"),
    differs("s", "server account info A", WEIGHTS),
    same("s", "server account info NOSUCH"),
    same("s", "server config reload SERVERID -f"),
    same(
        "s",
        "server check server --name srv0 --conn-warn 10 --conn-critical 20",
    ),
    same("s", "server check server --name nosuch --timeout 1s"),
    same("s", "top srv0 --output /dev/stdout"),
    same("a", "top srv0 --output /dev/stdout --timeout 1s"),
    same(
        "s",
        "audit gather --timeout 1s --output a.zip --no-progress",
    ),
    same("s", "audit analyze a.zip"),
    same("a", "server list --timeout 1s"),
    same("a", "account info"),
    same("a", "account report connections"),
    same("a", "account report statistics"),
    same("b", "req time x"),
    same("b", "req nosuch x"),
    same("a", "pub old.orders x"),
    same("a", "pub news.1 x"),
    same("a", "trace orders.1"),
    same("a", "trace old.orders"),
    same("a", "trace jobs"),
    same("a", "trace news.1"),
    same("b", "trace time"),
    same("b", "trace time --deliver"),
    same("s", "req $SYS.REQ.SERVER.PING.NOSUCH x"),
    same("s", "req $SYS.REQ.ACCOUNT.A.STATZ {}"),
    same("s", "req $SYS.REQ.ACCOUNT.B.CONNS {}"),
    same("s", "req $SYS.REQ.ACCOUNT.SYS.NOSUCH {}"),
    same("s", "req $SYS.REQ.ACCOUNT.NOSUCH.STATZ {} --timeout 1s"),
    same(
        "s",
        "req $SYS.REQ.ACCOUNT.PING.STATZ {\"accounts\":[\"B\"]}",
    ),
    same(
        "s",
        "req $SYS.REQ.ACCOUNT.PING.STATZ {\"include_unused\":true,\"accounts\":[\"A\"]}",
    ),
];

/// One broker whose clients show certificates.
pub const TLS: &[Command] = &[
    same("", "rtt"),
    same("", "account info"),
    same("", "account tls"),
    same("", "pub orders.1 hello"),
    same("", "req svc.time x"),
    same("", "trace orders.1"),
    same("", PATIENT_CHECK),
];

/// Three brokers with the accounts, and clients at each.
pub const MESH: &[Command] = &[
    same("s", "server list 3 --sort name"),
    same("s", "server list --sort name"),
    same("s", "server info srv2"),
    same("s", "server report routes"),
    same("s", "server report connections --account A --sort uptime"),
    same("s", "server report accounts"),
    same("s", "server report health"),
    same(
        "s",
        "server request connections 3 --cluster mesh --filter-account B",
    ),
    same(
        "s",
        "server request connections --name srv1 --filter-account A",
    ),
    same("s", "server request variables --name srv1"),
    same("s", "server request routes --name srv0"),
    differs("s", "server account info A", WEIGHTS),
    same("s", "server check server --name srv1"),
    same("a", "account report connections"),
    same("a", "account report statistics"),
    same("a", "trace orders.1"),
    same("a", "trace jobs"),
    same("a", "trace svc.time"),
    same("a", "trace news.1"),
    same("a", "trace nobody"),
    same("b", "trace time"),
    same("b", "req time x"),
    same("s", "req $SYS.REQ.SERVER.PING.NOSUCH x"),
    same("s", "req $SYS.REQ.SERVER.NOSUCH.VARZ x"),
    same("s", "req $SYS.REQ.ACCOUNT.A.NOSUCH x"),
    same(
        "s",
        "req $SYS.REQ.ACCOUNT.B.CONNS {} --replies 0 --timeout 1s",
    ),
    same(
        "s",
        "req $SYS.REQ.ACCOUNT.B.STATZ {} --replies 0 --timeout 1s",
    ),
    same(
        "s",
        "req $SYS.REQ.ACCOUNT.PING.STATZ {\"include_unused\":true} --replies 3",
    ),
];
