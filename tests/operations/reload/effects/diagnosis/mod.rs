//! Thresholds of the diagnosis: what was no finding before a reload is one afterwards.

mod counts;
mod queues;
mod routes;
mod times;
mod tls;

use serde_json::Value;
use test_support::wait_until;

use super::{Effect, Scene};

pub const EFFECTS: &[Effect] = &[
    ("diagnosis appear_after", times::appear_after),
    ("diagnosis clear_after", times::clear_after),
    ("diagnosis incident_window", times::incident_window),
    ("diagnosis growth_window", times::growth_window),
    ("diagnosis exhausted_within", times::exhausted_within),
    ("diagnosis queue_full_within", queues::queue_full_within),
    ("diagnosis config_check", times::config_check),
    ("diagnosis worker_delay", times::worker_delay),
    ("diagnosis route_rtt", routes::route_rtt),
    ("diagnosis route_silence", routes::route_silence),
    ("diagnosis planned_absence", routes::planned_absence),
    ("diagnosis route_losses", routes::route_losses),
    ("diagnosis uneven_clients", routes::uneven_clients),
    ("diagnosis storm_rate", counts::storm_rate),
    ("diagnosis ceiling_warning", counts::ceiling_warning),
    ("diagnosis ceiling_critical", counts::ceiling_critical),
    ("diagnosis slow_percent", queues::slow_percent),
    ("diagnosis payload_percent", counts::payload_percent),
    ("diagnosis login_failures", counts::login_failures),
    ("diagnosis violations", counts::violations),
    ("diagnosis no_responders", counts::no_responders),
    ("diagnosis no_interest", counts::no_interest),
    ("diagnosis may_be_unheard", counts::may_be_unheard),
    ("diagnosis leak_subscriptions", counts::leak_subscriptions),
    ("diagnosis reply_subjects", counts::reply_subjects),
    ("diagnosis certificate_warning", tls::certificate_warning),
    ("diagnosis certificate_critical", tls::certificate_critical),
    ("diagnosis crl_warning", tls::crl_warning),
    ("diagnosis crl_critical", tls::crl_critical),
    ("diagnosis handshake_failures", tls::handshake_failures),
    ("diagnosis stale_peers", counts::stale_peers),
    ("diagnosis restarts", counts::restarts),
];

/// Samples after which what is no finding will not be one.
const SAMPLES: usize = 8;

/// A configuration with these lines, and these in the block of the thresholds.
fn config(lines: &str, thresholds: &str) -> String {
    format!(
        "{lines}\ndiagnosis {{ interval: 50ms, appear_after: 50ms, clear_after: 50ms, \
         {thresholds} }}"
    )
}

/// A key of the block, with a value by which there is no finding and one by which there is.
struct Threshold {
    key: &'static str,
    before: &'static str,
    after: &'static str,
}

impl Threshold {
    /// Starts with the first value and more lines, does something, and asserts that only
    /// the second value makes a finding of it. What `cause` returns is kept meanwhile.
    fn makes<T>(&self, code: &str, lines: &str, cause: impl FnOnce(&Scene) -> T) {
        self.makes_severe(code, "", lines, cause);
    }

    /// The same for a finding of this severity; any if it is empty.
    fn makes_severe<T>(
        &self,
        code: &str,
        severity: &str,
        lines: &str,
        cause: impl FnOnce(&Scene) -> T,
    ) {
        let mut scene = self.scene(lines);
        let _kept = cause(&scene);
        stays_silent(&scene, code, severity);
        self.reload(&mut scene, lines);
        appears_while(&scene, code, severity, || {});
    }

    /// A scene with the first value.
    fn scene(&self, lines: &str) -> Scene {
        Scene::new(
            &config(lines, &format!("{}: {}", self.key, self.before)),
            "",
        )
    }

    /// Puts the second value in force.
    fn reload(&self, scene: &mut Scene, lines: &str) {
        let thresholds = format!("{}: {}", self.key, self.after);
        scene.reload(&config(lines, &thresholds), "");
    }
}

/// Whether there is a finding of this severity; any if it is empty.
fn is_found(scene: &Scene, code: &str, severity: &str) -> bool {
    let explained = scene.member.broker.get_json("/explainz");
    let all = explained["findings"].as_array().expect("findings");
    all.iter().any(|finding| {
        finding["code"] == code && (severity.is_empty() || finding["severity"] == severity)
    })
}

/// Waits for the finding, and does something meanwhile.
fn appears_while(scene: &Scene, code: &str, severity: &str, mut work: impl FnMut()) {
    wait_until(&format!("{code} appears"), || {
        work();
        is_found(scene, code, severity)
    });
}

/// Asserts that some samples make no such finding.
fn stays_silent(scene: &Scene, code: &str, severity: &str) {
    silent_while(scene, code, severity, || {});
}

/// The same while something is done.
fn silent_while(scene: &Scene, code: &str, severity: &str, mut work: impl FnMut()) {
    let (mut samples, mut last) = (0, Value::Null);
    wait_until("the broker takes samples", || {
        work();
        assert!(!is_found(scene, code, severity), "{code} appears too early");
        let sampled = scene.member.broker.get_json("/explainz")["sampled"].clone();
        samples += usize::from(sampled != last);
        last = sampled;
        samples > SAMPLES
    });
}
