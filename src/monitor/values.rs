//! The answers of the endpoints as values, for those who show them elsewhere
//! than over HTTP.

use std::sync::Arc;

use monitor_client::{Accstatz, Varz};

use super::{Monitor, accstatz, query::Query, service, varz};
use crate::{diagnosis::Diagnosis, server::Server};

pub use super::{accstatz::stat as account_stat, jsz::NOT_LEADER};

/// Why there is no answer.
#[derive(Debug)]
pub struct NoAnswer {
    /// As HTTP has it: 400 for a wrong parameter.
    pub code: u16,
    /// What is wrong, for people.
    pub description: String,
}

/// The endpoints without the port; clones are the same.
#[derive(Clone)]
pub struct Answers(pub(super) Arc<Monitor>);

impl Answers {
    /// The answers of this broker; `workers` threads serve its connections.
    pub fn new(server: Arc<Server>, diagnosis: Arc<Diagnosis>, workers: usize) -> Self {
        let address = server.monitor_address;
        Self(Arc::new(Monitor::new(server, diagnosis, address, workers)))
    }

    /// The JSON that an endpoint such as `/connz` answers to these parameters.
    ///
    /// # Errors
    ///
    /// A parameter is wrong, or there is no such endpoint.
    pub fn ask(&self, path: &str, parameters: &[(String, String)]) -> Result<Vec<u8>, NoAnswer> {
        let answer = service::ask(&self.0, path, &Query::of(parameters));
        answer.map_err(|refusal| NoAnswer {
            code: refusal.status.as_u16(),
            description: refusal.message,
        })
    }

    /// Settings, totals and resources.
    pub fn varz(&self) -> Varz {
        varz::build(&self.0)
    }

    /// What each account moved, those without connections too.
    pub fn accstatz(&self) -> Accstatz {
        accstatz::build(&self.0, true)
    }
}
