//! What a mode needs of the answers of port 8222. A verdict never rests on a
//! field that is not there: [`Check`](super::Check) asks no path that the mode's
//! table does not name, and holds each answer against the table first.

use monitor_client::{Field, Kind};

use crate::{deadline::Step, metric::Metric};

/// A path that a mode asks, and what must be in its answer.
#[derive(Debug)]
pub struct Need {
    /// Without a query.
    pub path: &'static str,
    /// The step of the run while it requests.
    pub step: Step,
    /// Why other brokers than midge do not have the path; empty if they do.
    pub midge_only: &'static str,
    /// The fields that the mode reads.
    pub fields: &'static [Needed],
    /// Whether it is asked after the verdict, and only for names: without it there are none.
    pub is_for_names: bool,
}

/// One field of an answer.
#[derive(Debug)]
pub struct Needed {
    /// Where, and what fits there.
    pub field: Field<'static>,
    /// Without it there is no result, if this is `None`; else only this metric is unknown.
    pub metric: Option<&'static Metric>,
}

/// What says where the client port is, in modes that need no monitoring port as well.
pub static ANNOUNCED: Need = of(
    "/varz",
    Step::Varz,
    &[must("host", Kind::Text), must("port", Kind::Positive)],
);

/// A path that all brokers have.
pub(super) const fn of(path: &'static str, step: Step, fields: &'static [Needed]) -> Need {
    of_midge(path, step, "", fields)
}

/// A path that only names who is behind a verdict.
pub(super) const fn for_names(path: &'static str, step: Step, fields: &'static [Needed]) -> Need {
    Need {
        is_for_names: true,
        ..of(path, step, fields)
    }
}

/// A path that only midge has.
pub(super) const fn of_midge(
    path: &'static str,
    step: Step,
    midge_only: &'static str,
    fields: &'static [Needed],
) -> Need {
    Need {
        path,
        step,
        midge_only,
        fields,
        is_for_names: false,
    }
}

/// A field that the verdict rests on.
pub(super) const fn must(name: &'static str, kind: Kind) -> Needed {
    let field = Field { name, kind };
    Needed {
        field,
        metric: None,
    }
}

/// A field that only one metric needs.
pub(super) const fn may(name: &'static str, kind: Kind, metric: &'static Metric) -> Needed {
    let field = Field { name, kind };
    Needed {
        field,
        metric: Some(metric),
    }
}
