//! Three hosts, set up by a real `puppet apply` with certificates of a real Puppet CA: their
//! brokers form a mesh, collectd records them, and a later run of Puppet changes as little as it
//! can.

use std::{
    fs,
    io::{Read, Write},
    net::Ipv4Addr,
    process::Command,
    thread,
};

use tempfile::TempDir;
use test_support::{free_port, puppet_ca::PuppetCa, tls_client::Speaker, tools, wait_until};

use super::{
    host::{CHANGED, FAILED, Host, Ports, UNCHANGED},
    run,
};

/// One network address for each host: they share the ports.
const ADDRESSES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(127, 0, 1, 1),
    Ipv4Addr::new(127, 0, 1, 2),
    Ipv4Addr::new(127, 0, 1, 3),
];

/// The parameters that every host has. The password means something in a URL and in the
/// configuration language.
const MESH: &str = r#"
    servers => ['127.0.1.1', '127.0.1.2', '127.0.1.3'],
    routes_password => Sensitive('p@:/%"\\ß'),
    manage_collectd => true, manage_nagios => true,
"#;

#[test]
fn puppet_sets_up_a_mesh_and_keeps_it() {
    let folder = tempfile::Builder::new()
        .prefix("puppet-")
        .tempdir()
        .expect("a folder");
    let ca = PuppetCa::new();
    ca.sign(
        &["node1", "node2", "node3"],
        "localhost,IP:127.0.1.1,IP:127.0.1.2,IP:127.0.1.3",
    );
    let hosts = set_up(&folder, &ca);
    let first = &hosts[0];
    let settings = |more: &str| {
        format!(
            "{MESH} monitor_port => {}, extra_config => 'log_file: \"{}/midge.log\"{more}',",
            first.ports.monitor,
            first.root.display()
        )
    };

    is_a_mesh(&hosts);
    carries_messages(&hosts, &ca);
    is_recorded(&hosts);
    is_checked(first);

    first.apply(&settings(""), UNCHANGED);
    reloads_if_that_is_enough(first, &settings);
    refuses_what_midge_refuses(first, &settings);
    hands_over_to_a_new_program(first, &settings);
    restarts_if_it_must(first, &settings);
    removes_all(first, &settings(""));
    only_tells_a_host_that_is_not_in_the_list(&folder);
}

fn set_up(folder: &TempDir, ca: &PuppetCa) -> Vec<Host> {
    let ports = Ports {
        client: free_port(),
        cluster: free_port(),
        monitor: free_port(),
    };
    let hosts: Vec<Host> = ADDRESSES
        .iter()
        .zip(["node1", "node2", "node3"])
        .map(|(address, node)| {
            // The second one has puppet/collectd.
            let modules: &[&str] = match node {
                "node2" => &["collectd", "concat"],
                _ => &[],
            };
            let mut host = Host::new(folder.path(), *address, ports, modules);
            fs::rename(ca.ssl_dir(node), host.path("ssl")).expect("the agent's files");
            if !modules.is_empty() {
                host.beside = with_collectd(&host);
            }
            host
        })
        .collect();
    thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| {
                let log = format!("log_file: \"{}/midge.log\"", host.root.display());
                let monitor = host.ports.monitor;
                host.apply(
                    &format!("{MESH} monitor_port => {monitor}, extra_config => '{log}',"),
                    CHANGED,
                )
            });
        }
    });
    hosts
}

/// A real collectd whose settings and service are puppet/collectd's.
fn with_collectd(host: &Host) -> String {
    fs::write(host.path("collectd.conf"), host.collectd_conf()).expect("write the settings");
    let root = host.root.display();
    format!(
        "class {{ 'collectd':
           manage_repo => false, manage_package => false, config_file => '{root}/collectd.conf',
           plugin_conf_dir => '{root}/collectd.d',
         }}
         Service <| title == 'collectd' |> {{
           provider => base, start => '/usr/sbin/collectd -C {root}/collectd.conf',
           stop => 'kill $(cat {root}/collectd.pid)',
           status => 'kill -0 $(cat {root}/collectd.pid)',
           restart => '/bin/true',
         }}"
    )
}

fn is_a_mesh(hosts: &[Host]) {
    for host in hosts {
        wait_until(&format!("{} has two routes", host.address), || {
            let routes = host.get_json("/routez")["routes"].clone();
            let routes = routes.as_array().expect("routes");
            let mut peers: Vec<_> = routes.iter().map(|it| it["remote_name"].as_str()).collect();
            peers.sort_unstable();
            peers.len() == 2 && !peers.contains(&Some(&*host.address.to_string()))
        });
        let varz = host.get_json("/varz");
        assert_eq!(varz["server_name"], host.address.to_string());
        assert_eq!(varz["cluster"]["name"], "nats");
        assert_eq!(varz["tls_verify"], true, "{varz}");
        assert_eq!(varz["cluster"]["tls_verify"], true, "{varz}");
        let secret = fs::metadata(host.path("midge/midge.conf")).expect("the configuration");
        let mode = std::os::unix::fs::PermissionsExt::mode(&secret.permissions());
        assert_eq!(mode & 0o777, 0o640);
    }
}

/// A node's message reaches a subscriber at another broker; without a certificate of the CA
/// nobody gets in.
fn carries_messages(hosts: &[Host], ca: &PuppetCa) {
    let speaker = |host: &Host, node: &str| {
        Speaker::believing(&ca.certificates()).showing(
            &host.path(&format!("ssl/certs/{node}.pem")),
            &host.path(&format!("ssl/private_keys/{node}.pem")),
        )
    };
    let (from, to) = (&hosts[0], &hosts[2]);
    let connected = speaker(to, "node3").connect(to.client_addr());
    let (mut subscriber, _) = connected.expect("gets in");
    write!(subscriber, "CONNECT {{\"verbose\":false}}\r\nSUB a 1\r\n").expect("subscribe");
    wait_until("the interest is known", || {
        from.get("/routez?subs=1").body.contains("\"a\"")
    });
    let connected = speaker(from, "node1").connect(from.client_addr());
    let (mut publisher, _) = connected.expect("gets in");
    write!(
        publisher,
        "CONNECT {{\"verbose\":false}}\r\nPUB a 2\r\nhi\r\nPING\r\n"
    )
    .expect("publish");
    let mut received = Vec::new();
    while !received.ends_with(b"MSG a 1 2\r\nhi\r\n") {
        let mut byte = [0];
        assert_eq!(subscriber.read(&mut byte).expect("read"), 1);
        received.push(byte[0]);
    }
    let stranger = Speaker::believing(&ca.certificates());
    assert!(stranger.attempt(to.client_addr()).is_err());
}

fn is_recorded(hosts: &[Host]) {
    // Without puppet/collectd, Puppet only writes the plugin and its settings.
    let plain = &hosts[0];
    let include = format!("Include \"{}/collectd.d/*.conf\"\n", plain.root.display());
    fs::write(
        plain.path("collectd.conf"),
        plain.collectd_conf() + &include,
    )
    .expect("written");
    let conf = plain.path("collectd.conf");
    let (code, written) = run(Command::new("/usr/sbin/collectd").arg("-C").arg(conf));
    assert_eq!(code, Some(0), "{written}");
    plain.wait_for_values();
    hosts[1].wait_for_values();
}

/// Runs all commands that NRPE has.
fn is_checked(host: &Host) {
    let commands = fs::read_to_string(host.path("nrpe.d/nats.cfg")).expect("NRPE's commands");
    let commands = commands.lines().filter_map(|line| {
        let (name, command) = line.strip_prefix("command[")?.split_once("]=")?;
        Some((name, command))
    });
    let mut names = Vec::new();
    for (name, command) in commands {
        let command = match name {
            "check_nats" => as_brokers_user(host, command),
            _ => command,
        };
        let (code, written) = run(Command::new("sh").args(["-c", command]));
        // A mesh that was just made may have findings.
        let expected = if name == "check_nats_explain" {
            0..=2
        } else {
            0..=0
        };
        assert!(
            code.is_some_and(|code| expected.contains(&code)),
            "{name}: {written}"
        );
        assert!(written.contains(" | "), "{name}: {written}");
        names.push(name);
    }
    assert!(
        names.contains(&"check_nats") && names.contains(&"check_nats_cluster"),
        "{names:?}"
    );
}

/// The check of the client port needs the key, which the broker's user may read: NRPE runs it
/// with sudo, and only that. A test that is not root cannot change what sudo permits, and runs
/// what sudo would.
fn as_brokers_user<'a>(host: &Host, command: &'a str) -> &'a str {
    let (_, user) = run(Command::new("id").arg("-un"));
    let user = user.trim();
    let prefix = format!("/usr/bin/sudo -n -u {user} ");
    let check = command.strip_prefix(&*prefix).expect("sudo");
    assert!(check.contains(" --puppet --ssldir "), "{check}");
    let permitted = fs::read_to_string(host.path("sudoers.d/nats")).expect("sudo's settings");
    let rule = format!(
        "{user} ALL=({user}) NOPASSWD: {}",
        check.replace(':', "\\:")
    );
    assert!(permitted.lines().any(|line| line == rule), "{permitted}");
    if user == "root" { command } else { check }
}

fn reloads_if_that_is_enough(host: &Host, settings: &impl Fn(&str) -> String) {
    let pid = host.pid();
    host.apply(&(settings("") + "max_payload_size => 4096,"), CHANGED);
    wait_until("the new limit is in force", || {
        host.get_json("/varz")["max_payload"] == 4096
    });
    assert_eq!(host.pid(), pid, "it was restarted");
}

fn refuses_what_midge_refuses(host: &Host, settings: &impl Fn(&str) -> String) {
    let pid = host.pid();
    let file = host.path("midge/midge.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    let written = host.apply(&settings("\nno_such_key: 1"), FAILED);
    assert!(written.contains("no_such_key"), "{written}");
    assert!(!written.contains("p@:"), "{written}");
    let after = fs::read_to_string(&file).expect("the configuration");
    assert_eq!(after, before);
    assert_eq!(host.pid(), pid);
    assert_eq!(host.get("/healthz").status, 200);
}

/// A new program takes over from the running broker. One that cannot is restarted, and Puppet says
/// so.
fn hands_over_to_a_new_program(host: &Host, settings: &impl Fn(&str) -> String) {
    let newer = host.path("newer");
    let mut program = fs::read(tools::midge()).expect("the program");
    // Behind its end, where nobody reads.
    program.push(b'\n');
    fs::write(&newer, program).expect("space for it");
    let with_newer = format!("{} binary_source => '{}',", settings(""), newer.display());
    let before = host.pid().expect("it runs");
    let written = host.apply(&with_newer, CHANGED);
    assert!(written.contains("has taken over from process"), "{written}");
    assert!(!written.contains("restarted"), "{written}");
    assert_eq!(host.get_json("/varz")["taken_over_from"], before);
    host.apply(&with_newer, UNCHANGED);

    // The old program once more: its start as a new process fails.
    let before = host.pid().expect("it runs");
    let defaults = host.path("default/midge");
    let kept = fs::read_to_string(&defaults).expect("its settings");
    let refusing = host.path("refusing");
    let real = tools::midge();
    let script = format!(
        "#!/bin/sh\n[ \"$MIDGE_UPGRADE\" != {before} ] || exit 9\nexec {} \"$@\"\n",
        real.display()
    );
    fs::write(&refusing, script).expect("space for it");
    let with_refusing = format!(
        "{} binary_source => '{}',",
        settings(""),
        refusing.display()
    );
    let written = host.apply(&with_refusing, CHANGED);
    assert!(
        written.contains("no upgrade without a gap: the broker is restarted"),
        "{written}"
    );
    assert_ne!(host.pid(), Some(before));
    assert_eq!(
        host.get_json("/varz")["taken_over_from"],
        serde_json::Value::Null
    );
    assert_eq!(fs::read_to_string(&defaults).expect("its settings"), kept);
}

fn restarts_if_it_must(host: &Host, settings: &impl Fn(&str) -> String) {
    let pid = host.pid();
    host.apply(&(settings("") + "cluster_name => 'other',"), CHANGED);
    assert_ne!(host.pid(), pid);
    assert_eq!(host.get_json("/varz")["cluster"]["name"], "other");
}

fn removes_all(host: &Host, settings: &str) {
    let pid = host.pid().expect("it runs");
    host.apply(&format!("{settings} ensure => 'absent',"), CHANGED);
    assert!(!fs::exists(format!("/proc/{pid}")).expect("a look"));
    let managed = [
        "bin",
        "collectd.d",
        "completions",
        "default",
        "init.d",
        "logrotate.d",
        "man/man1",
        "man/man5",
        "man/man8",
        "midge",
        "nrpe.d",
        "plugins",
        "run",
        "sbin",
        "sudoers.d",
    ];
    assert_eq!(host.files(&managed), Vec::<std::path::PathBuf>::new());
    assert!(!host.path("midge").exists() && !host.path("checks").exists());
    host.apply(&format!("{settings} ensure => 'absent',"), UNCHANGED);
}

fn only_tells_a_host_that_is_not_in_the_list(folder: &TempDir) {
    let ports = Ports {
        client: 1,
        cluster: 2,
        monitor: 3,
    };
    let stranger = Host::new(folder.path(), Ipv4Addr::new(127, 0, 1, 4), ports, &[]);
    let written = stranger.apply(MESH, CHANGED);
    let notice = "127.0.1.4 is not in the list of NATS servers 127.0.1.1, 127.0.1.2, 127.0.1.3";
    assert!(written.contains(notice), "{written}");
    let managed = [
        "default", "init.d", "midge", "nrpe.d", "plugins", "run", "sbin",
    ];
    assert_eq!(stranger.files(&managed), Vec::<std::path::PathBuf>::new());
}
