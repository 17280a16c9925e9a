//! What the brokers of one run are called in the output and in the labels of performance data:
//! as short as keeps them apart, and from the command line or the DNS alone, so that a broker that
//! does not answer keeps its name.

use std::{collections::BTreeSet, net::IpAddr};

/// The names of brokers that are reached at these places (`nats1.example.net`,
/// `10.0.0.5:4333`, `http://10.0.0.5:8222`, `unix:/run/midge/monitor.sock`): the first part of a
/// host name, else the whole host, else with the port, else all of it. One rule holds for all.
pub fn short(places: &[String]) -> Vec<String> {
    let rules: [fn(&str) -> &str; 3] = [first_label, host, authority];
    rules
        .into_iter()
        .map(|rule| -> Vec<String> { places.iter().map(|place| rule(place).to_owned()).collect() })
        .find(|names| are_distinct(names))
        .unwrap_or_else(|| places.to_vec())
}

/// The name as a part of a label, which has no `=` and no quotes, and neither blanks, slashes nor
/// colons, which graphing programs take for something else.
pub fn in_label(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

fn are_distinct(names: &[String]) -> bool {
    let labels: BTreeSet<String> = names.iter().map(|name| in_label(name)).collect();
    labels.len() == names.len()
}

fn first_label(place: &str) -> &str {
    let host = host(place);
    match host.parse::<IpAddr>() {
        Err(_) if is_host_name(host) => host.split('.').next().unwrap_or(host),
        _ => host,
    }
}

/// The place without its port and the brackets.
fn host(place: &str) -> &str {
    let place = authority(place);
    if let Some((host, _)) = place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return host;
    }
    match place.split_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => place,
    }
}

/// Host and port, of a URL too.
fn authority(place: &str) -> &str {
    match place.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => place,
    }
}

fn is_host_name(host: &str) -> bool {
    !host.contains([':', '/'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_keeps_them_apart() {
        for (places, names) in [
            (&["n1.example.net", "n2.example.net"][..], &["n1", "n2"][..]),
            (&["n1.example.net:4222", "n2"], &["n1", "n2"]),
            (&["n1.a.net", "n1.b.net"], &["n1.a.net", "n1.b.net"]),
            (&["n1:4222", "n1:4223"], &["n1:4222", "n1:4223"]),
            (&["10.0.0.5:4222", "10.0.0.6"], &["10.0.0.5", "10.0.0.6"]),
            (&["[2001:db8::1]:4222", "::1"], &["2001:db8::1", "::1"]),
            (&["[::1]:1", "[::1]:2"], &["[::1]:1", "[::1]:2"]),
            (&["unix:/run/a.sock", "n1"], &["unix:/run/a.sock", "n1"]),
            (&["http://n1.a:8222/x", "https://n2"], &["n1", "n2"]),
            (
                &["http://[::1]:1", "http://[::1]:2"],
                &["[::1]:1", "[::1]:2"],
            ),
            (
                &["http://n1/a", "http://n1/b"],
                &["http://n1/a", "http://n1/b"],
            ),
        ] {
            let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
            assert_eq!(short(&places), names);
        }
    }

    #[test]
    fn labels_have_no_special_characters() {
        assert_eq!(in_label("n1.example.net"), "n1.example.net");
        assert_eq!(in_label("[::1]:4222"), "___1__4222");
        assert_eq!(in_label("unix:/a b='\""), "unix__a_b___");
    }
}
