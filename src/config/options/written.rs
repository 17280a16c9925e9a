//! Values in the syntax of the configuration file: a setting reported by a reload can be
//! copied into one.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::{cluster::QueuePolicy, syslog::RemoteSyslog};

/// The value of a setting.
pub(super) trait Written {
    /// The value as it would be written; `unset` for what is not.
    fn written(&self) -> String;
}

macro_rules! written_as_shown {
    ($($kind:ty),*) => {
        $(impl Written for $kind {
            fn written(&self) -> String {
                self.to_string()
            }
        })*
    };
}
written_as_shown!(bool, i64, u32, u64, usize);

impl Written for u16 {
    /// A port; 0 is any free one.
    fn written(&self) -> String {
        match self {
            0 => "-1".into(),
            port => port.to_string(),
        }
    }
}

impl Written for str {
    fn written(&self) -> String {
        format!("{self:?}")
    }
}

impl Written for String {
    fn written(&self) -> String {
        self.as_str().written()
    }
}

impl Written for PathBuf {
    fn written(&self) -> String {
        self.to_string_lossy().written()
    }
}

impl Written for SocketAddr {
    fn written(&self) -> String {
        self.to_string().written()
    }
}

impl Written for RemoteSyslog {
    fn written(&self) -> String {
        self.to_string().written()
    }
}

impl Written for Duration {
    fn written(&self) -> String {
        const UNITS: [(u128, &str); 5] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let nanoseconds = self.as_nanos();
        let whole = UNITS
            .iter()
            .find(|(unit, _)| nanoseconds.is_multiple_of(*unit));
        let text = match whole {
            _ if nanoseconds == 0 => "0s".to_owned(),
            Some((unit, name)) => format!("{}{name}", nanoseconds / unit),
            None => format!("{nanoseconds}ns"),
        };
        text.written()
    }
}

impl<T: Written> Written for Option<T> {
    fn written(&self) -> String {
        self.as_ref().map_or_else(|| UNSET.into(), T::written)
    }
}

impl Written for Vec<String> {
    fn written(&self) -> String {
        let items: Vec<String> = self.iter().map(Written::written).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Written for BTreeMap<String, String> {
    fn written(&self) -> String {
        let pairs = self
            .iter()
            .map(|(key, value)| format!("{}: {}", key.written(), value.written()));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}

/// Shown for a setting that is not in the file.
pub(super) const UNSET: &str = "unset";

/// A number of bytes.
pub(super) trait Bytes {
    /// The number; 0 for the default.
    fn count(&self) -> u64;
}

impl Bytes for u64 {
    fn count(&self) -> u64 {
        *self
    }
}

impl Bytes for usize {
    fn count(&self) -> u64 {
        *self as u64
    }
}

impl Bytes for Option<usize> {
    fn count(&self) -> u64 {
        self.unwrap_or(0) as u64
    }
}

/// A number of bytes with the greatest unit that it is a whole number of.
pub(super) fn bytes(size: &impl Bytes) -> String {
    let count = size.count();
    let units = [(30, "GB"), (20, "MB"), (10, "KB")];
    let whole = units
        .iter()
        .find(|(bits, _)| count > 0 && count.trailing_zeros() >= *bits);
    match whole {
        Some((bits, unit)) => format!("{}{unit}", count >> bits),
        None => count.to_string(),
    }
}

/// `"HOST:PORT"`.
pub(super) fn address(host: &str, port: u16) -> String {
    let port = port.written();
    match host.contains(':') {
        true => format!("[{host}]:{port}").written(),
        false => format!("{host}:{port}").written(),
    }
}

impl Written for QueuePolicy {
    fn written(&self) -> String {
        match self {
            Self::Weighted => "weighted".into(),
            Self::Local => "local".into(),
        }
    }
}
