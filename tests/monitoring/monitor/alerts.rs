//! The alerts for Prometheus, `conf/prometheus/midge-alerts.yml`: they ask for what a broker serves, and
//! fire.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use test_support::{Broker, pki::Pki, tools};

use super::metrics::run;

const ALERTS: &str = include_str!("../../../conf/prometheus/midge-alerts.yml");
const MANUAL: &str = include_str!("../../../docs/metrics.md");

/// An alert, series with which it fires once, and its labels, besides those of the target.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// Each alert.
const CASES: &[Case] = &[
    (
        "MidgeDown",
        &[("up{job=\"midge\",instance=\"b\"}", "0+0x20")],
        "",
    ),
    ("MidgeNotHealthy", &[("midge_healthy{}", "0+0x20")], ""),
    (
        "MidgeCriticalFinding",
        &[(
            "midge_findings{code=\"route-missing\",severity=\"critical\"}",
            "1+0x20",
        )],
        "code=\"route-missing\"",
    ),
    (
        "MidgeWarningFinding",
        &[(
            "midge_findings{code=\"slow-consumer\",severity=\"warning\"}",
            "2+0x20",
        )],
        "code=\"slow-consumer\"",
    ),
    (
        "MidgeDiagnosisHangs",
        &[("midge_diagnosis_age_seconds{}", "0+60x20")],
        "",
    ),
    (
        "MidgeSlowConsumer",
        &[("midge_slow_consumers_total{kind=\"client\"}", "0+1x20")],
        "kind=\"client\"",
    ),
    (
        "MidgeMessagesLost",
        &[
            (
                "midge_messages_lost_total{reason=\"slow_consumer\"}",
                "0+5x20",
            ),
            (
                "midge_messages_lost_total{reason=\"no_interest\"}",
                "0+5x20",
            ),
        ],
        "reason=\"slow_consumer\"",
    ),
    (
        "MidgeLimitNear",
        &[
            (
                "midge_ceiling_used{ceiling=\"fds\",unit=\"files\"}",
                "95+0x20",
            ),
            (
                "midge_ceiling_limit{ceiling=\"fds\",unit=\"files\"}",
                "100+0x20",
            ),
        ],
        "ceiling=\"fds\",unit=\"files\"",
    ),
    (
        "MidgeLimitReachedSoon",
        &[(
            "midge_ceiling_exhaustion_seconds{ceiling=\"memory\"}",
            "600+0x20",
        )],
        "ceiling=\"memory\"",
    ),
    (
        "MidgeMessagesLate",
        &[
            (
                "midge_message_latency_seconds_bucket{kind=\"client\",le=\"0.5\"}",
                "0+0x20",
            ),
            (
                "midge_message_latency_seconds_bucket{kind=\"client\",le=\"1\"}",
                "0+100x20",
            ),
            (
                "midge_message_latency_seconds_bucket{kind=\"client\",le=\"+Inf\"}",
                "0+100x20",
            ),
        ],
        "",
    ),
    (
        "MidgeCertificateExpires",
        &[
            (
                "midge_tls_expiry_time_seconds{listener=\"clients\",what=\"ca\"}",
                "86400+0x20",
            ),
            (
                "midge_tls_expiry_time_seconds{listener=\"clients\",what=\"crl\"}",
                "86400+0x20",
            ),
        ],
        "listener=\"clients\",what=\"ca\"",
    ),
    (
        "MidgeReloadFailed",
        &[("midge_config_reload_success{}", "0+0x20")],
        "",
    ),
    (
        "MidgeRestarts",
        &[("midge_start_time_seconds{}", "0+60x20")],
        "",
    ),
];

fn values_of<'a>(key: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    ALERTS
        .lines()
        .filter_map(move |line| line.trim().strip_prefix(key))
}

/// Every metric is in the manual, and every label of a selector is one that a broker serves.
#[test]
fn they_ask_for_what_is_served() {
    let pki = Pki::new(&["broker"]);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?} }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    let broker = Broker::midge().config(tls).start();
    let served = broker.get("/metrics").body;
    let mut names = BTreeSet::new();
    for expression in values_of("expr: ") {
        for (at, _) in expression.match_indices("midge_") {
            let rest = &expression[at..];
            let end = rest.find(|symbol: char| !symbol.is_ascii_alphanumeric() && symbol != '_');
            let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
            let of_table = name.trim_end_matches("_bucket");
            assert!(
                MANUAL.contains(&format!("| `{of_table}` |")),
                "{name}: {expression}"
            );
            names.insert(name);
            let Some(selector) = rest.strip_prefix('{') else {
                continue;
            };
            let label = selector.split(['=', '!']).next().expect("a label");
            let begin = format!("{name}{{");
            let series = served.lines().filter(|line| line.starts_with(&begin));
            let known = series.filter(|line| line.contains(&format!("{label}=\"")));
            assert!(known.count() > 0, "{label} of {name}: {expression}");
        }
    }
    assert!(names.len() >= 10, "{names:?}");
}

/// Prometheus' own tool judges the file, and what each alert does.
#[test]
fn they_fire() {
    let alerts: Vec<&str> = values_of("- alert: ").collect();
    let cases: Vec<&str> = CASES.iter().map(|case| case.0).collect();
    assert_eq!(alerts, cases);
    let folder = tempfile::tempdir().expect("a folder");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prometheus/midge-alerts.yml");
    let mut text = format!("rule_files: [ {rules:?} ]\nevaluation_interval: 1m\ntests:\n");
    for (alert, series, labels) in CASES {
        text += "- interval: 1m\n  input_series:\n";
        for (series, values) in *series {
            let _ = writeln!(text, "  - {{ series: '{series}', values: '{values}' }}");
        }
        text += "  promql_expr_test:\n";
        // One with these labels, and no other.
        for labels in [*labels, ""] {
            let alerts = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",{labels}}}");
            let _ = writeln!(
                text,
                "  - expr: 'count({alerts})'\n    eval_time: 15m\n    exp_samples: [ {{ value: 1 }} ]"
            );
        }
    }
    let file = folder.path().join("tests.yml");
    fs::write(&file, text).expect("written");
    let file = file.to_str().expect("a path in UTF-8");
    let verdict = run(tools::promtool(), &["test", "rules", file], "");
    let output = String::from_utf8_lossy(&verdict.stdout).into_owned()
        + &String::from_utf8_lossy(&verdict.stderr);
    assert!(verdict.status.success(), "{output}");
}
