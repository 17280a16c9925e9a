//! The modes of `check_nats`: what each one asks and how it judges.

use std::time::{Duration, Instant};

use monitor_client::{Client, Varz};
use serde_json::Value;

use super::{
    Request,
    probe::{ProbeError, Served, probe},
    range::{Range, Scale, decimal},
    report::{Figure, Report, Status},
};

/// One mode.
pub struct Mode {
    /// How it is chosen.
    pub name: &'static str,
    /// What it does, and what `-w` and `-c` apply to.
    pub help: &'static str,
    /// Does it. `Err` is a usage error.
    pub run: fn(&Request, &mut Report) -> Result<(), String>,
}

/// All modes; the first one is the default.
pub const MODES: &[Mode] = &[
    Mode {
        name: "health",
        help: "the client port serves, /healthz says ok, connections stay below 80 % (critical: \
               90 %) of their limit; -w and -c apply to the round trip time in seconds \
               (default 0.5 and 1)",
        run: health,
    },
    Mode {
        name: "connect",
        help: "connect, INFO, CONNECT, PING, PONG on the client port; -w and -c apply to the \
               round trip time in seconds (default 0.5 and 1)",
        run: connect,
    },
    Mode {
        name: "connections",
        help: "client connections; -w and -c apply to their number, N% is a share of \
               max_connections (default 80% and 90%)",
        run: connections,
    },
    Mode {
        name: "varz",
        help: "any number of /varz, named by --figure (slow_consumers, mem, \
               slow_consumer_stats.clients, …); -w and -c apply to it",
        run: varz,
    },
];

const RTT_DEFAULTS: (&str, &str) = ("0.5", "1");
const CONNECTION_DEFAULTS: (&str, &str) = ("80%", "90%");

fn health(request: &Request, report: &mut Report) -> Result<(), String> {
    let rtt = thresholds(request, Scale::Seconds, Some(RTT_DEFAULTS))?;
    serving(request, rtt, report);
    let answer = client(request).and_then(|client| client.healthz().map_err(text_of));
    match answer {
        Ok((200, health)) if health.status == "ok" => report.note("healthy"),
        Ok((code, health)) => report.complain(
            Status::Critical,
            format!(
                "not healthy (HTTP {code}): {} {}",
                health.status, health.error
            ),
        ),
        Err(error) => report.complain(Status::Unknown, error),
    }
    let varz = ask_varz(request, report);
    judge_connections(varz.as_ref(), CONNECTION_DEFAULTS, report)?;
    record_totals(varz.as_ref(), report);
    Ok(())
}

fn connect(request: &Request, report: &mut Report) -> Result<(), String> {
    let rtt = thresholds(request, Scale::Seconds, Some(RTT_DEFAULTS))?;
    serving(request, rtt, report);
    Ok(())
}

fn connections(request: &Request, report: &mut Report) -> Result<(), String> {
    // A typing error is one whether or not the broker answers.
    let given = (request.warning.as_deref(), request.critical.as_deref());
    let written = (
        given.0.unwrap_or(CONNECTION_DEFAULTS.0),
        given.1.unwrap_or(CONNECTION_DEFAULTS.1),
    );
    for text in [written.0, written.1] {
        Range::parse(text, Scale::Number { limit: Some(1.0) })?;
    }
    let varz = ask_varz(request, report);
    judge_connections(varz.as_ref(), written, report)
}

fn varz(request: &Request, report: &mut Report) -> Result<(), String> {
    let path = request
        .figure
        .as_deref()
        .ok_or("mode varz needs --figure NAME, for example --figure slow_consumers")?;
    let (warning, critical) = thresholds(request, Scale::Number { limit: None }, None)?;
    let answer = client(request).and_then(|client| client.get::<Value>("/varz").map_err(text_of));
    let value = match answer {
        Ok(varz) => {
            let found = path.split('.').try_fold(&varz, |value, key| value.get(key));
            let number = found.and_then(Value::as_f64);
            if number.is_none() {
                report.complain(Status::Unknown, format!("/varz has no number named {path}"));
            }
            number
        }
        Err(error) => {
            report.complain(Status::Unknown, error);
            None
        }
    };
    let mut figure = Figure::new(&label(path), value, "");
    figure.warning = warning;
    figure.critical = critical;
    match value {
        Some(number) => report.judge(figure, format!("{path} is {}", decimal(number))),
        None => report.record(figure),
    }
    Ok(())
}

/// Asks the client port and judges the answer.
fn serving(request: &Request, rtt: (Option<Range>, Option<Range>), report: &mut Report) {
    let served = probe(&request.host, request.port, request.deadline);
    let times = served
        .as_ref()
        .ok()
        .map(|served| (served.connect_time.as_secs_f64(), served.rtt.as_secs_f64()));
    let mut figure = Figure::new("rtt", times.map(|(_, rtt)| rtt), "s");
    (figure.warning, figure.critical) = rtt;
    let connect_time = Figure::new("connect_time", times.map(|(connect, _)| connect), "s");
    match served {
        Ok(served) => {
            report.judge(figure, format!("rtt {}", milliseconds(served.rtt)));
            describe(&served, report);
        }
        Err(ProbeError::NotServing(why)) => {
            report.complain(Status::Critical, why);
            report.record(figure);
        }
        Err(ProbeError::Unknown(why)) => {
            report.complain(Status::Unknown, why);
            report.record(figure);
        }
    }
    report.record(connect_time);
}

fn describe(served: &Served, report: &mut Report) {
    let info = &served.info;
    if info.ldm {
        report.complain(Status::Warning, "lame duck: the broker is about to leave");
    }
    let version = match &info.midge {
        Some(midge) => format!("midge {midge}, serving as nats-server {}", info.version),
        None => format!("nats-server {}", info.version),
    };
    report.detail(format!("server {}: {version}", info.server_name));
    report.detail(format!(
        "connected in {}",
        milliseconds(served.connect_time)
    ));
}

/// The figure is there on every run, without a value if there is no `varz`.
fn judge_connections(
    varz: Option<&Varz>,
    (warning, critical): (&str, &str),
    report: &mut Report,
) -> Result<(), String> {
    let Some(varz) = varz else {
        report.record(Figure::new("connections", None, ""));
        return Ok(());
    };
    let max = varz.max_connections.max(0) as f64;
    let scale = Scale::Number { limit: Some(max) };
    let count = varz.connections as f64;
    let mut figure = Figure::new("connections", Some(count), "");
    figure.warning = Some(Range::parse(warning, scale)?);
    figure.critical = Some(Range::parse(critical, scale)?);
    figure.max = Some(max);
    report.judge(figure, format!("{count} of {max} connections"));
    Ok(())
}

/// How a figure is read from `/varz`.
type Reading = fn(&Varz) -> f64;

/// What `health` records for graphs: label, unit, figure.
const TOTALS: &[(&str, &str, Reading)] = &[
    ("total_connections", "c", |varz| {
        varz.total_connections as f64
    }),
    ("in_msgs", "c", |varz| varz.in_msgs as f64),
    ("out_msgs", "c", |varz| varz.out_msgs as f64),
    ("in_bytes", "c", |varz| varz.in_bytes as f64),
    ("out_bytes", "c", |varz| varz.out_bytes as f64),
    ("slow_consumers", "c", |varz| varz.slow_consumers as f64),
    ("subscriptions", "", |varz| varz.subscriptions as f64),
    ("mem", "B", |varz| varz.mem as f64),
    ("cpu", "%", |varz| varz.cpu),
];

fn record_totals(varz: Option<&Varz>, report: &mut Report) {
    for (label, unit, read) in TOTALS {
        report.record(Figure::new(label, varz.map(read), unit));
    }
}

fn ask_varz(request: &Request, report: &mut Report) -> Option<Varz> {
    let answer = client(request).and_then(|client| client.varz().map_err(text_of));
    match answer {
        Ok(varz) => Some(varz),
        Err(error) => {
            report.complain(Status::Unknown, error);
            None
        }
    }
}

/// A client of the monitoring port with the time that is left.
fn client(request: &Request) -> Result<Client, String> {
    let left = request
        .deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    Client::new(&request.url, left).map_err(text_of)
}

fn text_of(error: monitor_client::Error) -> String {
    error.to_string()
}

/// The thresholds as they were written, else the mode's own.
fn thresholds(
    request: &Request,
    scale: Scale,
    defaults: Option<(&str, &str)>,
) -> Result<(Option<Range>, Option<Range>), String> {
    let parse = |given: &Option<String>, default: Option<&str>| {
        given
            .as_deref()
            .or(default)
            .map(|text| Range::parse(text, scale))
            .transpose()
    };
    Ok((
        parse(&request.warning, defaults.map(|(warning, _)| warning))?,
        parse(&request.critical, defaults.map(|(_, critical)| critical))?,
    ))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A label of performance data may hold neither blanks, quotes nor `=`.
fn label(path: &str) -> String {
    path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}
