//! Runs the plugin and checks its output against the plugin contract in every test.

use std::{
    collections::BTreeMap,
    io::Read,
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
};

use test_support::{Broker, BrokerBuilder, wait_for};

/// The result of a run of the plugin.
#[derive(Debug)]
pub(crate) struct PluginOutput {
    /// Exit code.
    pub(crate) code: i32,
    /// First line without perfdata.
    pub(crate) line: String,
    /// Perfdata by label, in the order of the output.
    pub(crate) perfdata: Vec<(String, String)>,
    /// All of standard output.
    pub(crate) output: String,
}

impl PluginOutput {
    /// A metric's value with its unit, such as `0.5s`.
    pub(crate) fn value(&self, label: &str) -> &str {
        let fields = self.fields(label);
        fields.split(';').next().unwrap_or_default()
    }

    /// A metric's value, thresholds and limits, as printed.
    pub(crate) fn fields(&self, label: &str) -> &str {
        self.perfdata
            .iter()
            .find_map(|(known, fields)| (known == label).then_some(fields.as_str()))
            .unwrap_or_else(|| panic!("no figure {label}: {self:?}"))
    }

    /// The labels in order.
    pub(crate) fn labels(&self) -> Vec<&str> {
        self.perfdata
            .iter()
            .map(|(label, _)| label.as_str())
            .collect()
    }

    /// Asserts that one of the lines has these words.
    #[track_caller]
    pub(crate) fn tell(&self, words: &str) -> &Self {
        assert!(
            self.output.contains(words),
            "{words:?} is missing: {self:?}"
        );
        self
    }

    /// Asserts exit code and first line.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &str) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.line.contains(words), "{words:?} is missing: {self:?}");
        self
    }
}

/// The brokers that every check must support.
pub(crate) fn brokers() -> Vec<BrokerBuilder> {
    vec![
        Broker::midge(),
        Broker::nats_server(),
        Broker::nats_server_29(),
    ]
}

/// Runs the plugin on a broker.
pub(crate) fn check(broker: &Broker, arguments: &[&str]) -> PluginOutput {
    check_ports(broker.client_addr(), broker.monitor_addr(), arguments)
}

/// Runs the plugin on any two ports of 127.0.0.1.
pub(crate) fn check_ports(
    client: SocketAddr,
    monitor: SocketAddr,
    arguments: &[&str],
) -> PluginOutput {
    let (client, monitor) = (client.port().to_string(), monitor.port().to_string());
    let mut all = vec!["-p", &client, "-m", &monitor];
    all.extend(arguments);
    judge(&all)
}

/// Chooses a mode that opens the client port, with thresholds that no busy machine reaches.
pub(crate) fn mode(name: &str) -> Vec<&str> {
    const CONNECT: [&str; 4] = ["--connect-warning", "1h", "--connect-critical", "1h"];
    const RTT: [&str; 4] = ["--rtt-warning", "1h", "--rtt-critical", "1h"];
    const ROUNDTRIP: [&str; 4] = ["--req-warning", "1h", "--req-critical", "1h"];
    let thresholds: &[[&str; 4]] = match name {
        "health" | "connect" => &[CONNECT, RTT],
        "roundtrip" => &[CONNECT, ROUNDTRIP],
        _ => &[],
    };
    [&["--mode", name][..], thresholds.as_flattened()].concat()
}

/// Runs the plugin for a check and parses its output.
pub(crate) fn judge(arguments: &[&str]) -> PluginOutput {
    judge_with(&[], arguments)
}

/// The same with more variables in the environment.
pub(crate) fn judge_with(environment: &[(&str, &str)], arguments: &[&str]) -> PluginOutput {
    let (code, output) = run_with(environment, arguments);
    let first = output.lines().next().unwrap_or_default();
    let (line, perfdata) = first.split_once(" | ").unwrap_or((first, ""));
    let result = PluginOutput {
        code,
        line: line.to_owned(),
        perfdata: parse_perfdata(perfdata),
        output: output.clone(),
    };
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(code).unwrap()];
    assert!(line.starts_with(&format!("NATS {word}: ")), "{result:?}");
    assert!(!line.contains(['|', '<', '>']), "{result:?}");
    assert!(!line.chars().any(char::is_control), "{result:?}");
    // What the transports of schedulers take: NRPE 2 the first line, NRPE 3 all without -v,
    // and Nagios all of it.
    let is_verbose = arguments.iter().any(|argument| argument.starts_with("-v"));
    let bytes_max = if is_verbose { 8192 } else { 4096 };
    assert!(line.chars().count() <= 240, "{result:?}");
    // The performance data of several brokers are as long as they are.
    let of_several = perfdata.contains("::");
    assert!(of_several || first.len() < 1024, "{result:?}");
    let perfdata_bytes = if of_several { perfdata.len() } else { 0 };
    assert!(output.len() - perfdata_bytes < bytes_max, "{result:?}");
    result
}

/// Runs the plugin; returns exit code and standard output. A run that prints to standard
/// error, has an invalid exit code, or does not end fails the test.
pub(crate) fn run(arguments: &[&str]) -> (i32, String) {
    run_with(&[], arguments)
}

fn run_with(environment: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
    let mut child = Command::new(test_support::tools::check_nats())
        .args(arguments)
        .envs(environment.iter().copied())
        // A configured proxy must not be used between the check and the broker.
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start check_nats");
    // Read while it runs: a pipe holds less than the longest output.
    let output = read(child.stdout.take());
    let errors = read(child.stderr.take());
    let status = wait_for("check_nats ends", || {
        child.try_wait().expect("wait for check_nats")
    });
    let output = output.join().expect("UTF-8");
    let errors = errors.join().expect("UTF-8");
    let code = status.code().expect("an exit code");
    assert!((0..=3).contains(&code), "{status}: {output}");
    assert_eq!(errors, "", "nothing belongs on standard error: {output}");
    (code, output)
}

/// Reads a pipe to its end on a thread of its own.
fn read(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    let mut pipe = pipe.expect("a pipe");
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("UTF-8");
        text
    })
}

/// Parses perfdata by its grammar; panics on a violation.
fn parse_perfdata(text: &str) -> Vec<(String, String)> {
    let mut seen = BTreeMap::new();
    let figures: Vec<(String, String)> = text
        .split(' ')
        .filter(|figure| !figure.is_empty())
        .map(|figure| {
            let (label, fields) = figure.split_once('=').expect("label=value");
            assert!(!label.contains(['\'', '"', '%', '/']), "{label}");
            check_fields(fields);
            (label.to_owned(), fields.to_owned())
        })
        .collect();
    for (label, _) in &figures {
        assert!(
            seen.insert(label, ()).is_none(),
            "{label} is there twice: {text}"
        );
    }
    figures
}

/// `value[UOM];[warn];[crit];[min];[max]`
fn check_fields(fields: &str) {
    let parts: Vec<&str> = fields.split(';').collect();
    assert!(parts.len() <= 5, "{fields}");
    let unit_start = parts[0]
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '-'))
        .unwrap_or(parts[0].len());
    let (number, unit) = parts[0].split_at(unit_start);
    match number {
        "" => assert_eq!(unit, "U", "{fields}"),
        number => {
            number
                .parse::<f64>()
                .unwrap_or_else(|_| panic!("no number: {fields}"));
            assert!(["", "s", "B", "c", "%"].contains(&unit), "{fields}");
        }
    }
    for range in parts.iter().skip(1) {
        let allowed = |c: char| matches!(c, '0'..='9' | '.' | '-' | '~' | ':' | '@');
        assert!(range.chars().all(allowed), "{fields}");
    }
}
