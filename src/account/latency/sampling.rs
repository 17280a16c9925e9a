//! Which requests are measured: a part of them, and those whose headers say that they are traced
//! (Zipkin's B3, Jaeger's Uber-Trace-Id, W3C Trace Context), as nats-server decides.

use super::Headers;
use crate::{config::accounts::LatencySampling, protocol::header, telemetry::pool::shorten_to};

/// Header values of one request that are kept.
const VALUES_MAX: usize = 16;

/// Bytes of one of them, and of its name: W3C Trace Context wants 512 of `tracestate` passed on.
const VALUE_LEN_MAX: usize = 512;

const UBER: &str = "Uber-Trace-Id";
const UBER_CONTEXT: &str = "Uberctx-";
const B3: &str = "B3";
const B3_SAMPLED: &str = "X-B3-Sampled";
const B3_TRACE: &str = "X-B3-Traceid";
const B3_PARENT: &str = "X-B3-Parentspanid";
const B3_SPAN: &str = "X-B3-Spanid";
const TRACE_PARENT: &str = "Traceparent";
const TRACE_STATE: &str = "Tracestate";

/// The headers that decided it, none if chance did; `None`: it is not measured.
pub(super) fn sample(sampling: LatencySampling, headers: &[u8]) -> Option<Headers> {
    if let LatencySampling::Percent(percent) = sampling
        && fastrand::u8(..100) < percent
    {
        return Some(Headers::new());
    }
    if headers.is_empty() {
        return None;
    }
    let mut all = Headers::new();
    for (name, value) in header::entries(headers) {
        let value = String::from_utf8_lossy(value).into_owned();
        all.entry(canonical(name)).or_default().push(value);
    }
    by_headers(&all)
}

fn by_headers(all: &Headers) -> Option<Headers> {
    let first = |name: &str| all.get(name).and_then(|values| values.first());
    if let Some(id) = first(UBER) {
        return is_uber_sampled(id).then(|| {
            let is_context = |name: &String| name.starts_with(UBER_CONTEXT);
            chosen(all, |name| name == UBER || is_context(name))
        });
    }
    let of_b3 = || {
        let names = [B3_SAMPLED, B3_TRACE, B3_PARENT, B3_SPAN];
        chosen(all, |name| names.contains(&&**name))
    };
    match first(B3_SAMPLED).map(String::as_str) {
        Some("1") => return Some(of_b3()),
        Some("0") => return None,
        _ => {}
    }
    if all.contains_key(B3_TRACE) {
        // It is left to who receives it.
        return Some(of_b3());
    }
    if let Some(b3) = first(B3) {
        let parts: Vec<&str> = b3.split('-').collect();
        let is_denied = match *parts {
            [only] => only == "0",
            [_, _, sampled, ..] => sampled == "0",
            _ => false,
        };
        return (!is_denied).then(|| chosen(all, |name| name == B3));
    }
    let parent = first(TRACE_PARENT)?;
    is_parent_sampled(parent)
        .then(|| chosen(all, |name| name == TRACE_PARENT || name == TRACE_STATE))
}

/// A part of all, cut: it is kept until it is published.
fn chosen(all: &Headers, is_meant: impl Fn(&String) -> bool) -> Headers {
    let mut left = VALUES_MAX;
    let mut chosen = Headers::new();
    for (name, values) in all {
        if left == 0 || name.len() > VALUE_LEN_MAX || !is_meant(name) {
            continue;
        }
        let values = values.iter().take(left);
        let values: Vec<String> = values
            .map(|value| shorten_to(value, VALUE_LEN_MAX).into_owned())
            .collect();
        left -= values.len();
        chosen.insert(name.clone(), values);
    }
    chosen
}

/// `479fefe9525eddb:5adb976bfc1f95c1:479fefe9525eddb:1`
fn is_uber_sampled(id: &str) -> bool {
    let parts: Vec<&str> = id.split(':').collect();
    match *parts {
        [_, _, _, flags] if (1..=2).contains(&flags.len()) => {
            u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
        }
        _ => false,
    }
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`
fn is_parent_sampled(parent: &str) -> bool {
    let parts: Vec<&str> = parent.split('-').collect();
    match *parts {
        [_, _, _, flags] if flags.len() == 2 => {
            // nats-server reads them as a signed number.
            i8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
        }
        _ => false,
    }
}

/// A name as Go's library has it: `x-b3-traceid` is `X-B3-Traceid`.
fn canonical(name: &[u8]) -> String {
    let mut is_first = true;
    let text = String::from_utf8_lossy(name);
    text.chars()
        .map(|letter| {
            let shown = match is_first {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            };
            is_first = letter == '-';
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_kept_are_bounded() {
        let mut lines = "Uber-Trace-Id: a:b:c:1\r\n".to_owned();
        for number in 0..100 {
            let value = "x".repeat(10_000);
            lines.push_str(&format!(
                "Uberctx-{number}: {value}\r\nUberctx-A: {value}\r\n"
            ));
        }
        let headers = format!("NATS/1.0\r\n{lines}\r\n");
        let sampled = sample(LatencySampling::Headers, headers.as_bytes()).expect("sampled");
        assert!(sampled.contains_key(UBER));
        let values: Vec<&String> = sampled.values().flatten().collect();
        assert_eq!(values.len(), VALUES_MAX);
        assert!(values.iter().all(|value| value.len() <= VALUE_LEN_MAX));
    }

    #[test]
    fn headers_decide_as_at_nats_server() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (lines, names) in [
            ("A: b", None),
            ("uber-trace-id: a:b:c:1\r\nuberctx-x: 1\r\nA: b", Some(2)),
            ("Uber-Trace-Id: a:b:c:0\r\nX-B3-Sampled: 1", None),
            ("Uber-Trace-Id: a:b:1", None),
            (
                "X-B3-Sampled: 1\r\nX-B3-TraceId: a\r\nX-B3-SpanId: b",
                Some(3),
            ),
            ("X-B3-Sampled: 0\r\nX-B3-TraceId: a", None),
            ("X-B3-TraceId: a", Some(1)),
            ("b3: 0", None),
            ("b3: a-b-0-c", None),
            ("b3: a-b-1-c", Some(1)),
            ("b3: a-b", Some(1)),
            (
                &format!("traceparent: {parent}-01\r\ntracestate: s"),
                Some(2),
            ),
            (&format!("traceparent: {parent}-00"), None),
            (&format!("traceparent: {parent}"), None),
        ] {
            let headers = format!("NATS/1.0\r\n{lines}\r\n\r\n");
            let sampled = sample(LatencySampling::Headers, headers.as_bytes());
            assert_eq!(sampled.map(|headers| headers.len()), names, "{lines}");
            let always = sample(LatencySampling::Percent(100), headers.as_bytes());
            assert_eq!(always, Some(Headers::new()));
        }
        assert_eq!(sample(LatencySampling::Headers, b""), None);
        let draw = || sample(LatencySampling::Percent(50), b"").is_some();
        let drawn = (0..1000).filter(|_| draw()).count();
        assert!((300..700).contains(&drawn), "{drawn}");
    }
}
