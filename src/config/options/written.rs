//! Values as they would be written in a file: what a reload says of a setting can be
//! copied into one.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{DEFAULT_HTTP_PORT, HttpPort, syslog::RemoteSyslog};

/// What a setting can be.
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

impl Written for HttpPort {
    fn written(&self) -> String {
        match self {
            Self::Default => DEFAULT_HTTP_PORT.written(),
            Self::Off => "0".into(),
            Self::Listen(port) => port.written(),
        }
    }
}

impl<T: Written> Written for Option<T> {
    fn written(&self) -> String {
        self.as_ref().map_or_else(|| "unset".into(), T::written)
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
