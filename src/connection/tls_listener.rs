//! State shared by the connections of one listener with a `tls` block: files,
//! threads, metrics, and a bound on what is logged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::{
    CloseReason, Connection,
    handshake::{Handshakers, Turn},
    transport::Tls,
};
use crate::{
    security::{
        certificate::{Fingerprint, PeerCertificate},
        failure::{Cause, Failure, revoked_name},
        store::TlsStore,
    },
    telemetry::{MonotonicMillis, histogram::Distribution, log_throttle::LogThrottle},
};

/// Why a peer that connected to us is refused with `verify_cert_and_check_known_urls`.
const UNKNOWN_HOST: &str = "the peer's certificate names no host of a configured route";

/// TLS for the connections of one listener.
pub struct TlsListener {
    /// The block and its files.
    pub store: TlsStore,
    /// The threads that shake hands.
    pub handshakers: Arc<Handshakers>,
    /// How handshakes went.
    pub metrics: HandshakeMetrics,
    log_throttle: LogThrottle,
    begun: Mutex<(Instant, u32)>,
}

/// How handshakes went; counters since the start.
#[derive(Default)]
pub struct HandshakeMetrics {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; Cause::ALL.len()],
    /// One lock per handshake, which takes milliseconds anyway.
    times: Mutex<Distribution>,
    slowest: AtomicU64,
}

/// [`HandshakeMetrics`] at one moment.
#[derive(Clone, Debug, Default)]
pub struct HandshakeView {
    /// Handshakes that were finished and began a session.
    pub full: u64,
    /// Handshakes that resumed an earlier session.
    pub resumed: u64,
    /// Handshakes that failed, by cause; causes without any are left out.
    pub failed: Vec<(Cause, u64)>,
    /// Handshakes under way.
    pub unfinished: usize,
    /// Durations of the finished ones, waiting for the peer included.
    pub times: Distribution,
    /// Duration of the longest of them.
    pub slowest: Duration,
}

/// Why a peer that was accepted would no longer be.
pub struct Untrusted {
    /// As the connection ends.
    pub reason: CloseReason,
    /// Whose certificate it is about.
    pub subject: String,
    /// For the log.
    pub text: String,
    /// The CA that is revoked, if that is why.
    revoked_authority: Option<String>,
}

impl Untrusted {
    /// Label under which revoked certificates are counted: `who`, or that and the CA.
    pub fn counted_as(&self, who: String) -> String {
        revoked_name(who, self.revoked_authority.as_deref())
    }
}

/// A connection whose handshake is complete.
pub struct Secured {
    /// TLS, for the connection's transport.
    pub tls: Tls,
    /// The peer's certificate, if it showed one.
    pub certificate: Option<PeerCertificate>,
}

impl Secured {
    /// Makes it the transport of its connection. `is_first`: the handshake preceded INFO.
    pub fn adopt(self, connection: &Connection, is_first: bool) {
        let mut tls = self.tls;
        tls.is_first = is_first;
        connection.set_tls(Arc::new(tls));
        if let Some(certificate) = self.certificate {
            // Set once: a connection has one handshake.
            let _ = connection.certificate.set(Box::new(certificate));
        }
    }
}

impl TlsListener {
    /// TLS for one listener.
    pub fn new(store: TlsStore, handshakers: Arc<Handshakers>) -> Self {
        Self {
            store,
            handshakers,
            metrics: HandshakeMetrics::default(),
            log_throttle: LogThrottle::default(),
            begun: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Whether another handshake may begin in this second.
    pub fn is_within_rate(&self) -> bool {
        let Some(limit) = self.store.current().options.connection_rate_limit else {
            return true;
        };
        let mut begun = self.begun.lock();
        if begun.0.elapsed() >= Duration::from_secs(1) {
            *begun = (Instant::now(), 0);
        }
        begun.1 += 1;
        begun.1 <= limit
    }

    /// Shakes hands with a peer that connected to us.
    ///
    /// # Errors
    ///
    /// Why it failed. It is counted; the peer got the alert that TLS has for it, or none
    /// if it was let in by its ticket and then refused.
    pub async fn accept(&self, stream: &Arc<TcpStream>) -> Result<Secured, Failure> {
        self.accept_within(stream, Duration::MAX).await
    }

    /// As [`accept`](Self::accept), with a peer that may keep us waiting for this time, if the block
    /// does not say less.
    pub async fn accept_within(
        &self,
        stream: &Arc<TcpStream>,
        patience: Duration,
    ) -> Result<Secured, Failure> {
        let start = Instant::now();
        let material = self.store.current();
        let patience = patience.min(material.options.timeout);
        let config = material.server.clone();
        drop(material);
        let mut result = self.handshakers.accept(stream, config, patience).await;
        // The ticket was checked in the handshake, so that most peers that are refused get
        // an alert; by the files of that time, and by what was in it.
        if let Ok(tls) = &result
            && tls.is_resumed
            && let Err(failure) = self.check_resumed(tls).await
        {
            result = Err(failure);
        }
        let result = result.and_then(|tls| self.check_peer(tls));
        self.metrics.count(&result, start.elapsed());
        result
    }

    /// Shakes hands with a peer that we connected to as `host`.
    ///
    /// # Errors
    ///
    /// Why it failed. It is counted; the peer got the alert that TLS has for it.
    pub async fn connect(&self, stream: &Arc<TcpStream>, host: &str) -> Result<Secured, Failure> {
        let start = Instant::now();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let text = format!("no certificate can be valid for the host {host:?}");
            Failure::new(Cause::Other, text)
        })?;
        let material = self.store.current();
        let patience = material.options.timeout;
        let config = material.client.clone();
        drop(material);
        let connect = self.handshakers.connect(stream, config, name, patience);
        let result = connect.await.and_then(|tls| self.check_peer(tls));
        self.metrics.count(&result, start.elapsed());
        result
    }

    /// Why a connection's peer, which was let in, would not be by the block and
    /// the files in force now; `None` if it would. That a certificate has expired
    /// meanwhile ends no connection.
    pub fn find_untrusted(&self, connection: &Connection) -> Option<Untrusted> {
        let tls = connection.tls()?;
        let chain = tls.peer_certificates();
        let material = self.store.current();
        let refused = |why: &str, subject: String| Untrusted {
            reason: CloseReason::TlsHandshakeFailure,
            text: format!("{why}: {subject}"),
            subject,
            revoked_authority: None,
        };
        let Some(leaf) = chain.first() else {
            let why = "it showed no certificate, which is now required";
            let peer = connection.peer.to_string();
            return material.options.verify.then(|| refused(why, peer));
        };
        if let Some(revoked) = material.revocations.find_revoked(&chain) {
            return Some(Untrusted {
                reason: CloseReason::CertificateRevoked,
                text: revoked.to_string(),
                revoked_authority: revoked.authority,
                subject: revoked.subject,
            });
        }
        let subject = || match connection.certificate.get() {
            Some(certificate) => certificate.subject.clone(),
            None => connection.peer.to_string(),
        };
        let pinned = &material.options.pinned_certs;
        let key = Fingerprint::from_der(leaf).map(|it| it.spki_sha256);
        if !pinned.is_empty() && !key.is_ok_and(|key| pinned.contains(&key)) {
            let why = "the key of its certificate is no longer in pinned_certs";
            return Some(refused(why, subject()));
        }
        let known = connection.certificate.get();
        if !tls.is_dialled && known.is_some_and(|it| !material.options.accepts(it)) {
            return Some(refused(UNKNOWN_HOST, subject()));
        }
        let why = "the CA of its certificate is no longer trusted";
        (!material.trusts_issuer(&chain, tls.is_dialled)).then(|| refused(why, subject()))
    }

    /// Checks the certificate of a peer that resumes a session by the files in force now;
    /// TLS checked it when the session began.
    async fn check_resumed(&self, tls: &Tls) -> Result<(), Failure> {
        let (material, chain) = (self.store.current(), tls.peer_certificates());
        let check = move || material.check_resumed(&chain);
        self.handshakers.compute(Turn::Next, check).await?
    }

    /// Checks the peer that TLS let in.
    fn check_peer(&self, tls: Tls) -> Result<Secured, Failure> {
        let unreadable = |error: crate::security::certificate::UnreadableCertificate| {
            Failure::new(Cause::BadCertificate, error.to_string())
        };
        let chain = tls.peer_certificates();
        let Some(leaf) = chain.first() else {
            return Ok(Secured {
                tls,
                certificate: None,
            });
        };
        let certificate = PeerCertificate::from_der(leaf).map_err(unreadable)?;
        let material = self.store.current();
        let pinned = &material.options.pinned_certs;
        if !pinned.is_empty() {
            let key = Fingerprint::from_der(leaf).map_err(unreadable)?.spki_sha256;
            if !pinned.contains(&key) {
                let text = format!(
                    "the key of the peer's certificate is not in pinned_certs: {}",
                    certificate.subject
                );
                return Err(Failure::new(Cause::NotPinned, text));
            }
        }
        if !tls.is_dialled && !material.options.accepts(&certificate) {
            let text = format!("{UNKNOWN_HOST}: {}", certificate.subject);
            return Err(Failure::new(Cause::BadCertificate, text));
        }
        Ok(Secured {
            tls,
            certificate: Some(certificate),
        })
    }

    /// The log line of a failure, if any: many of them do not flood the log.
    pub fn throttled(&self, text: String) -> Option<String> {
        self.log_throttle
            .throttle(MonotonicMillis::now(), text, "failed handshakes")
    }

    /// How handshakes went so far.
    pub fn view(&self) -> HandshakeView {
        let metrics = &self.metrics;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failed = Cause::ALL.into_iter().zip(&metrics.failed);
        HandshakeView {
            full: load(&metrics.full),
            resumed: load(&metrics.resumed),
            failed: failed
                .map(|(cause, count)| (cause, load(count)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            unfinished: self.handshakers.unfinished(),
            times: metrics.times.lock().clone(),
            slowest: Duration::from_micros(load(&metrics.slowest)),
        }
    }
}

impl HandshakeMetrics {
    fn count(&self, result: &Result<Secured, Failure>, took: Duration) {
        let add = |counter: &AtomicU64, more| counter.fetch_add(more, Ordering::Relaxed);
        match result {
            Ok(secured) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                let counter = match secured.tls.is_resumed {
                    true => &self.resumed,
                    false => &self.full,
                };
                add(counter, 1);
                self.times.lock().record(micros);
                self.slowest.fetch_max(micros, Ordering::Relaxed);
            }
            Err(failure) => {
                add(&self.failed[failure.cause as usize], 1);
            }
        }
    }
}
