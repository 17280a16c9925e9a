//! The endpoints: one file each, whose `answer` makes the value that the endpoint
//! answers with, a type of the crate `monitor-client`.
//!
//! [`crate::monitor::http`] serves the values over HTTP, `system` over the system
//! account; `metrics` and `dashboard` read them. Nothing here knows HTTP but for
//! the codes of a [`refusal`].

pub mod accountz;
pub mod accstatz;
pub mod clusterz;
pub mod connz;
mod connz_sort;
pub(super) mod control;
pub mod eventsz;
pub mod explainz;
pub mod federationz;
pub mod gatewayz;
pub mod healthz;
pub mod jsz;
pub mod latencyz;
pub mod leafz;
pub mod memz;
pub mod nodesz;
mod page;
pub mod pathz;
mod pathz_text;
pub mod query;
pub mod refusal;
pub mod routez;
pub mod slowz;
pub mod subsz;
pub(super) mod time_text;
pub mod topz;
pub mod varz;
