//! The one error of the harness: a sentence that says what went wrong where.
//! A failure inside a scenario is reported as FAILED instead of a figure.

use std::{fmt, io};

/// What went wrong, as a sentence for the reader of the report.
#[derive(Clone, Debug)]
pub(crate) struct Failure(pub(crate) String);

/// The result of everything that can fail here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Ends the function with a [`Failure`] made like `format!`.
macro_rules! fail {
    ($($arguments:tt)*) => {
        return Err($crate::failure::Failure(format!($($arguments)*)))
    };
}
pub(crate) use fail;

/// Says what was being done when an error of the system came.
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
    /// The same failure, with who had it in front.
    pub(crate) fn prefixed(self, who: impl fmt::Display) -> Self {
        Self(format!("{who}: {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
