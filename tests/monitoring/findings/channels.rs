//! The three channels on which an operator hears of a finding: port 8222, a notification of
//! a real collectd, and `check_nats`. Whatever a test here brings about must be shown by all
//! of them, with the same culprit.
//!
//! With `MIDGE_CHANNELS=FILE` each appearance is a line in that file: the code, what each
//! channel said and after how many seconds, and after how many it was over. For that the
//! tests wait longer: a collectd reports no end before the broker has been up for 20 s.
//! `tests/channels FILE` makes a table of it, and fails if one of docs/findings.md is missing or a
//! channel was late.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    env,
    fs::OpenOptions,
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{
    Broker,
    collectd::{Collectd, Setup, instance},
    tools, wait_until,
};

thread_local! {
    /// How each broker of the running test is watched, by the broker's process.
    static ATTACHED: RefCell<HashMap<u32, Watch>> = RefCell::default();
}

/// The channels beside port 8222.
struct Watch {
    collectd: Collectd,
    /// The URL that they ask.
    url: String,
    /// Codes of findings that they have shown.
    shown: HashSet<String>,
}

/// Starts a collectd that polls the broker, unless there is one.
pub fn attach(broker: &Broker) {
    if !ATTACHED.with_borrow(|attached| attached.contains_key(&broker.pid())) {
        attach_at(broker, broker.monitor_url());
    }
}

/// The same for a broker that is asked at this URL.
pub fn attach_at(broker: &Broker, url: String) {
    let mut setup = Setup::new(&instance("a", &url, ""));
    setup.interval = 0.5;
    let collectd = Collectd::start(&setup);
    let watch = Watch {
        collectd,
        url,
        shown: HashSet::new(),
    };
    ATTACHED.with_borrow_mut(|attached| attached.insert(broker.pid(), watch));
}

/// Lines that collectd has logged about the broker.
fn collectd_says(broker: &Broker, text: &str) -> Option<String> {
    ATTACHED.with_borrow(|attached| {
        let lines = attached[&broker.pid()].collectd.lines();
        lines.with(text).last().map(|line| (*line).to_owned())
    })
}

/// What `check_nats` says of the findings.
fn check_says(broker: &Broker) -> String {
    let url = ATTACHED.with_borrow(|attached| attached[&broker.pid()].url.clone());
    let output = Command::new(tools::check_nats())
        .args(["--url", &url, "--mode", "explain", "-v"])
        .output()
        .expect("check_nats starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What was seen so far of one finding.
pub struct Seen<'a> {
    broker: &'a Broker,
    code: &'a str,
    begun: Instant,
    port: Option<Duration>,
    collectd: Option<(Duration, String)>,
    check: Option<(Duration, String)>,
}

impl<'a> Seen<'a> {
    pub fn of(broker: &'a Broker, code: &'a str) -> Self {
        attach(broker);
        Self {
            broker,
            code,
            begun: Instant::now(),
            port: None,
            collectd: None,
            check: None,
        }
    }

    /// Whether the other channels show this finding of port 8222, with its subject.
    pub fn all_show(&mut self, finding: &Value) -> bool {
        let after = self.begun.elapsed();
        self.port.get_or_insert(after);
        let word = |key: &str| finding[key].as_str().expect("a text");
        let severity = word("severity");
        if self.collectd.is_none() {
            let text = format!("message = {severity} {}", self.code);
            let said = collectd_says(self.broker, &text);
            self.collectd = said
                .filter(|line| line.contains(beginning(word("subject"))))
                .map(|line| (after, line));
        }
        if self.check.is_none() {
            let said = check_says(self.broker);
            let shown = said
                .lines()
                .find(|line| line.contains(self.code) && line.contains(beginning(word("subject"))));
            self.check = shown.map(|line| (self.begun.elapsed(), line.to_owned()));
        }
        let all = self.collectd.is_some() && self.check.is_some();
        if all {
            ATTACHED.with_borrow_mut(|attached| {
                let watch = attached
                    .get_mut(&self.broker.pid())
                    .expect("it is attached");
                watch.shown.insert(self.code.to_owned());
            });
            self.write(finding);
        }
        all
    }

    fn write(&self, finding: &Value) {
        let (Some(port), Some((collectd, notified)), Some((check, checked))) =
            (self.port, &self.collectd, &self.check)
        else {
            return;
        };
        let notified = notified
            .split_once("message = ")
            .map_or("", |(_, text)| text);
        let subject = finding["subject"].as_str().unwrap_or_default();
        record(&format!(
            "{} | {subject} | {:.1} {} | {:.1} {notified} | {:.1} {checked}",
            self.code,
            port.as_secs_f64(),
            finding["severity"],
            collectd.as_secs_f64(),
            check.as_secs_f64(),
        ));
    }
}

/// The part of a subject that no channel escapes or shortens.
fn beginning(subject: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let end = subject.find(|c| !plain(c)).unwrap_or(subject.len());
    &subject[..end.min(40)]
}

/// Port 8222 does not show a finding any more: notes when the others follow, if that is to be
/// written.
pub fn note_cleared(broker: &Broker, code: &str) {
    let was_shown = ATTACHED.with_borrow(|attached| {
        let watch = attached.get(&broker.pid());
        watch.is_some_and(|watch| watch.shown.contains(code))
    });
    if env::var_os("MIDGE_CHANNELS").is_none() || !was_shown {
        return;
    }
    let begun = Instant::now();
    wait_until("check_nats has cleared", || {
        !check_says(broker).contains(code)
    });
    let check = begun.elapsed().as_secs_f64();
    wait_until("collectd has cleared", || {
        collectd_says(broker, &format!("message = over: {code}")).is_some()
    });
    let collectd = begun.elapsed().as_secs_f64();
    record(&format!(
        "{code} over: collectd {collectd:.1}, check_nats {check:.1}"
    ));
}

fn record(line: &str) {
    let Some(path) = env::var_os("MIDGE_CHANNELS") else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.expect("the line is written");
}
