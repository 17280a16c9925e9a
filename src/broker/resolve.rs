//! Resolves the names of brokers: host names, and SRV records that list them.
//!
//! The system's resolver may hang. It is called on threads that serve no connections, a few at a
//! time, and the caller waits for [`RESOLVE_TIMEOUT`] at most.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock},
    time::Duration,
};

use srv_records::{Answer, Srv};
use tokio::{sync::Semaphore, time::timeout};

use crate::telemetry::{calls::Calls, threads};

/// How long to wait for an answer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Queries at a time, including those that nobody waits for any more.
const QUERIES_MAX: usize = 8;

static QUERIES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(QUERIES_MAX)));

/// The addresses of a host.
///
///  # Errors
///
/// The resolver does not know it, or does not answer in time.
pub async fn resolve(calls: &Calls, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let late = |what: &str| {
        let text = format!("the resolver {what} within {RESOLVE_TIMEOUT:?}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let Ok(Ok(permit)) = timeout(RESOLVE_TIMEOUT, QUERIES.clone().acquire_owned()).await else {
        return Err(late("did not answer earlier requests"));
    };
    let (host, calls) = (host.to_owned(), calls.clone());
    let query = threads::run("resolver", move || {
        let _permit = permit;
        let _call = calls.begin("asking the resolver for the address of", &*host);
        (&*host, port).to_socket_addrs().map(Iterator::collect)
    });
    match timeout(RESOLVE_TIMEOUT, query).await {
        Ok(answer) => answer?,
        Err(_) => Err(late("did not answer")),
    }
}

/// What an SRV record says.
///
/// # Errors
///
/// Why there is nothing, and who was asked.
pub async fn look_up_srv(calls: &Calls, srv: &Srv) -> Result<Answer, String> {
    let late = || format!("{srv}: no answer within {RESOLVE_TIMEOUT:?}");
    let Ok(Ok(permit)) = timeout(RESOLVE_TIMEOUT, QUERIES.clone().acquire_owned()).await else {
        return Err(late());
    };
    let (record, calls) = (srv.clone(), calls.clone());
    let query = threads::run("resolver", move || {
        let _permit = permit;
        let _call = calls.begin("asking the name servers for the", record.to_string());
        record.look_up(RESOLVE_TIMEOUT)
    });
    match query.await {
        Ok(answer) => answer,
        Err(error) => Err(format!("{srv}: {error}")),
    }
}
