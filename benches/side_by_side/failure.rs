//! The error type of the harness: a sentence that says what went wrong and where. A failure within
//! a scenario is reported as FAILED instead of a value.

use std::{fmt, io};

/// What went wrong, as a sentence for the report.
#[derive(Clone, Debug)]
pub(crate) struct Failure(pub(crate) String);

/// The result of everything that can fail here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Returns a [`Failure`] with a text like `format!`.
macro_rules! fail {
    ($($arguments:tt)*) => {
        return Err($crate::failure::Failure(format!($($arguments)*)))
    };
}
pub(crate) use fail;

/// Adds to a system error what was being done.
pub(crate) trait During<T> {
    /// Turns the error into "`what`: error".
    fn during(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

impl Failure {
    /// Prefixes the failure with who had it.
    pub(crate) fn prefixed(self, who: impl fmt::Display) -> Self {
        Self(format!("{who}: {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
