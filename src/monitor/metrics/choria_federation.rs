//! The names of Choria's own federation broker, so that dashboards made for it work. They are there
//! with a federation alone.
//!
//! There each of forty workers has its own series; here both directions have one each. What comes
//! from upstream is `connected_to="federation"`, what comes from the site `"collective"`; published
//! is on the other side. `choria_federation_time` is missing: a message is passed on within the turn
//! that reads it.

use super::{
    render::{Format, head, line},
    sample::Labels,
    snapshot::Snapshot,
};

/// The value of the labels `name` and `worker`.
const WORKER: &str = "midge";

/// Writes all of them.
pub(super) fn render(text: &mut String, format: Format, snapshot: &Snapshot, identity: &str) {
    let federation = &snapshot.federation;
    if !federation.enabled {
        return;
    }
    let (requests, replies) = (&federation.requests, &federation.replies);
    for (name, help, of_federation, of_collective) in [
        (
            "choria_federation_received_msgs",
            "Messages received, by the side that they came from.",
            requests.received,
            replies.received,
        ),
        (
            "choria_federation_published_msgs",
            "Messages published, by the side that they went to.",
            replies.published,
            requests.published,
        ),
        (
            "choria_federation_errors",
            "Messages that were not passed on, by the side that they came from.",
            requests.refused + requests.dropped,
            replies.refused + replies.dropped,
        ),
    ] {
        let kind = match format {
            Format::Text => "counter",
            // OpenMetrics requires another name for a counter.
            Format::OpenMetrics => "unknown",
        };
        head(text, name, kind, help);
        for (side, count) in [("federation", of_federation), ("collective", of_collective)] {
            let labels: Labels = vec![
                ("name", WORKER.to_owned()),
                ("worker", WORKER.to_owned()),
                ("connected_to", side.to_owned()),
                ("cluster", federation.name.clone()),
                ("identity", identity.to_owned()),
            ];
            line(text, name, "", &labels, count as f64);
        }
    }
}
