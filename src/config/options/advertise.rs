//! `client_advertise` and `cluster_advertise`: `HOST` or `HOST:PORT`.

/// The host, without brackets, and the port; `None` is the port of the listener, which 0
/// and -1 mean as well.
///
/// # Errors
///
/// It is neither.
pub fn split(text: &str) -> Result<(&str, Option<u16>), String> {
    let wrong =
        || format!("{text:?} is neither HOST nor HOST:PORT; an IPv6 address needs brackets");
    let is_bracketed = |text: &str| text.starts_with('[') && text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bracketed(text.trim()) => (host.trim(), port.trim()),
        _ => (text.trim(), "0"),
    };
    let port = match port {
        "-1" => 0,
        port => port.parse().map_err(|_| wrong())?,
    };
    let bare = match is_bracketed(host) {
        true => &host[1..host.len() - 1],
        false if host.contains(':') => return Err(wrong()),
        false => host,
    };
    let is_strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']');
    if bare.is_empty() || bare.contains(is_strange) {
        return Err(wrong());
    }
    Ok((bare, Some(port).filter(|port| *port > 0)))
}

/// The value of a key as it is written; `None` for an empty one.
///
/// # Errors
///
/// It is neither a host nor a host with a port.
pub(super) fn read(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        text => split(text).map(|_| Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn hosts_and_ports_as_people_write_them() {
        for (text, host, port) in [
            ("me", "me", None),
            ("me:1", "me", Some(1)),
            ("me:0", "me", None),
            ("me:-1", "me", None),
            (" me : 5 ", "me", Some(5)),
            ("10.0.0.1:4222", "10.0.0.1", Some(4222)),
            ("[::1]", "::1", None),
            ("[::1]:4333", "::1", Some(4333)),
        ] {
            assert_eq!(split(text), Ok((host, port)), "{text:?}");
        }
        for wrong in [
            "", ":1", "::1", "::1:4", "me:", "me:x", "me:70000", "a b", "[]", "[a]b:1", "[]:1",
        ] {
            assert!(split(wrong).is_err(), "{wrong:?}");
        }
    }
}
