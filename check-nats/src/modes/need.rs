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
    /// The fields that several modes read there alike.
    common: &'static [Needed],
    /// The others that the mode reads.
    own: &'static [Needed],
    /// Whether it is asked after the verdict, and only for names: without it there are none.
    pub is_for_names: bool,
}

impl Need {
    /// The fields that the mode reads.
    pub fn fields(&self) -> impl Iterator<Item = &'static Needed> + use<> {
        self.common.iter().chain(self.own)
    }
}

/// One field of an answer.
#[derive(Debug)]
pub struct Needed {
    /// Where, and what fits there.
    pub field: Field<'static>,
    /// Without it there is no result, if this is `None`; else only this metric is unknown.
    pub metric: Option<&'static Metric>,
}

/// The severities of findings.
pub(super) const SEVERITY: Kind = Kind::Word(&["info", "warning", "critical"]);

/// What tells one run of a broker from another, and how long it has run.
const RUN: &[Needed] = &[
    must("server_id", Kind::Text),
    must("start", Kind::Text),
    must("now", Kind::Text),
];

/// The findings of a broker.
const FINDINGS: &[Needed] = &[
    must("server_id", Kind::Text),
    must("findings", Kind::List),
    must("findings.*.code", Kind::Text),
    must("findings.*.severity", SEVERITY),
];

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

/// `/varz` with what tells one run of a broker from another, and how long it has run.
pub(super) const fn of_run(fields: &'static [Needed]) -> Need {
    Need {
        common: RUN,
        ..of("/varz", Step::Varz, fields)
    }
}

/// `/explainz` with its findings; `midge_only` as in [`Need::midge_only`].
pub(super) const fn of_findings(midge_only: &'static str, fields: &'static [Needed]) -> Need {
    Need {
        common: FINDINGS,
        ..of_midge("/explainz", Step::Explainz, midge_only, fields)
    }
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
        common: &[],
        own: fields,
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
