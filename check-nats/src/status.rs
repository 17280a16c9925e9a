//! The four results of a plugin. Everything in this crate that judges returns one of these;
//! the binary exits with its code.

use std::fmt;

/// The result of a check. The order is that of severity: the worst of several
/// findings wins, and a known fault is never masked by an unknown part.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// Looked at, and within all thresholds.
    Ok,
    /// Could not be found out.
    Unknown,
    /// Looked at, and not quite right.
    Warning,
    /// Looked at, and broken.
    Critical,
}

impl Status {
    /// All of them, mildest first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Critical];

    /// The exit code of the plugin contract.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word in capitals on the first line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Unknown => "UNKNOWN",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }

    /// The status called `word`, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.word().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a check, or a part of it, ended early.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The status it gives the broker.
    pub status: Status,
    /// What happened, naming the step and the peer.
    pub text: String,
    /// What to do; empty where the text says it.
    pub remedy: &'static str,
}

impl Failure {
    /// The broker does not serve.
    pub fn critical(text: impl Into<String>) -> Self {
        Self::new(Status::Critical, text)
    }

    /// It could not be found out.
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(Status::Unknown, text)
    }

    /// With any status.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            remedy: "",
        }
    }

    /// The same with what to do about it.
    pub fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_orders_and_codes_follow_the_contract() {
        assert_eq!(
            Status::ALL.map(|status| (status.word(), status.code())),
            [("OK", 0), ("UNKNOWN", 3), ("WARNING", 1), ("CRITICAL", 2)]
        );
        assert!(Status::ALL.is_sorted());
        assert_eq!(Status::parse("warning"), Some(Status::Warning));
        assert_eq!(Status::parse("bad"), None);
    }
}
