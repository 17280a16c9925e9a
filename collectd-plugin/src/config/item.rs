//! collectd's configuration as a tree of items; [`crate::ffi`] copies it from collectd's own.

/// A line or block of collectd's configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// The key.
    pub(crate) key: String,
    /// The values on the line.
    pub(crate) values: Vec<Scalar>,
    /// The content of a block.
    pub(crate) children: Vec<Item>,
}

/// A value, as collectd parsed it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// An unquoted `true`, `yes`, `on` or their opposites.
    Boolean(bool),
    /// An unquoted number.
    Number(f64),
    /// A quoted text or another unquoted word.
    Text(String),
    /// A text that is not UTF-8.
    NotUtf8,
}

impl Scalar {
    /// The value as text, nearly as it was written.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Boolean(value) => Ok(value.to_string()),
            Self::Number(value) => Ok(value.to_string()),
            Self::Text(value) => Ok(value.clone()),
            Self::NotUtf8 => Err("the value is not UTF-8".to_owned()),
        }
    }

    /// A text in quotes. Without them collectd would take `007` for the number 7.
    pub(super) fn quoted(&self) -> Result<String, String> {
        match self {
            Self::Text(value) if !value.is_empty() => Ok(value.clone()),
            Self::NotUtf8 => self.text(),
            // The value may be a secret.
            _ => Err("write a text in quotes that is not empty".to_owned()),
        }
    }

    /// A number from `min` to `max`, quoted or not.
    pub(super) fn number(&self, min: f64, max: f64) -> Result<f64, String> {
        let number = match self {
            Self::Number(value) => Some(*value),
            Self::Text(value) => value.trim().parse().ok(),
            Self::Boolean(_) | Self::NotUtf8 => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("{self} is not a number from {min} to {max}"))
    }

    /// A boolean, quoted or not.
    pub(super) fn boolean(&self) -> Result<bool, String> {
        let text = self.text()?.to_ascii_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(format!("{self} is neither true nor false")),
        }
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => write!(f, "\"{value}\""),
            Self::NotUtf8 => f.write_str("a text that is not UTF-8"),
        }
    }
}
