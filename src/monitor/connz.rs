//! `/connz`: the connections, open and closed, one entry each.
//!
//! What is asked of every connection is only what selects and orders it; the
//! entries are made for the page alone, so that a page's cost depends little on
//! how many connections there are.

use std::{sync::Arc, time::Duration};

use monitor_client::{ConnInfo, Connz, SubDetail, TlsPeerCert};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    connz_sort::Order,
    page::Page,
    query::{Listing, Query},
    time_text::{rfc3339, round_trip, uptime},
};
use crate::{
    account::GLOBAL_ACCOUNT,
    connection::{
        Connection,
        registry::{ClosedConnection, ConnectionView, Registry, SubscriptionView},
    },
    security::certificate::Fingerprint,
    subject::overlap,
    sublist::Entry,
    telemetry::{MonotonicMillis, loss::LossReason},
};

/// Subscriptions listed in one answer; an entry's count tells when its list is
/// cut short.
const LISTED_SUBSCRIPTIONS_MAX: usize = 64 * 1024;

/// The connections asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Any,
    Closed,
    Open,
}

/// The parameters of a request.
struct Request {
    state: State,
    order: Order,
    page: Page,
    /// 0 asks for all.
    cid: u64,
    auth: bool,
    subscriptions: Listing,
    account: String,
    user: String,
    mqtt_client: String,
    /// Only those with a subscription that can take some of its subjects; counts
    /// only with an account.
    filter_subject: Vec<u8>,
}

/// A connection that may be shown.
pub(super) enum Candidate {
    Closed(Arc<ClosedConnection>),
    Open(Arc<Connection>),
}

/// The answer.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    let request = Request::parse(query)?;
    Answer::pretty_json(&build(monitor, &request))
}

fn build(monitor: &Monitor, request: &Request) -> Connz {
    let context = &monitor.server.clients;
    let clock = MonotonicMillis::now();
    let mut candidates = candidates(&context.registry, request.state);
    candidates.retain(|candidate| request.wants_account(candidate));
    let total = candidates.len();
    candidates.retain(|candidate| request.wants(candidate));
    request.order.sort(&mut candidates, clock);
    let mut listed = 0;
    let connections: Vec<_> = request
        .page
        .cut(&candidates)
        .map(|candidate| request.entry(candidate, clock, &mut listed))
        .collect();
    Connz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        num_connections: connections.len(),
        total,
        offset: request.page.offset,
        limit: request.page.limit,
        connections,
    }
}

fn candidates(registry: &Registry, state: State) -> Vec<Candidate> {
    let mut found = Vec::new();
    if state != State::Closed {
        found.extend(registry.open().into_iter().map(Candidate::Open));
    }
    if state != State::Open {
        found.extend(registry.closed().into_iter().map(Candidate::Closed));
    }
    if state == State::Any {
        // One that ended between the two looks is in both lists.
        found.sort_by_key(Candidate::cid);
        found.dedup_by_key(|candidate| candidate.cid());
    }
    found
}

impl Candidate {
    pub(super) fn cid(&self) -> u64 {
        match self {
            Self::Closed(closed) => closed.last.cid,
            Self::Open(connection) => connection.cid,
        }
    }

    /// Whether it is in this account: the global one if it is in none yet.
    fn is_in(&self, account: &str) -> bool {
        let is_it = |known: &str| shown_account(known) == account;
        match self {
            Self::Closed(closed) => is_it(&closed.last.identity.account),
            Self::Open(connection) => is_it(&connection.identity.lock().account),
        }
    }

    /// Whether one of its subscriptions can take some subject of `filter`.
    fn can_hear(&self, filter: &[u8]) -> bool {
        match self {
            Self::Closed(_) => true,
            Self::Open(connection) => {
                let table = connection.subscriptions.lock();
                table.iter().any(|known| overlap(known.subject(), filter))
            }
        }
    }

    fn has_user(&self, user: &str) -> bool {
        match self {
            Self::Closed(closed) => closed.last.identity.user == user,
            Self::Open(connection) => connection.identity.lock().user == user,
        }
    }
}

impl Request {
    fn parse(query: &Query) -> Result<Self, Refusal> {
        let state = match &*query.text("state").to_ascii_lowercase() {
            "" | "open" => State::Open,
            "closed" => State::Closed,
            "any" | "all" => State::Any,
            _ => {
                return Err(Refusal::bad_request(format!(
                    "Error decoding state for {}",
                    query.text("state")
                )));
            }
        };
        let subscriptions = query.listing("subs")?;
        let mut request = Self {
            auth: query.boolean("auth")?,
            subscriptions,
            page: Page::parse(query)?,
            cid: query.unsigned("cid")?,
            state,
            order: Order::parse(&query.text("sort"), state)?,
            account: query.text("acc").into_owned(),
            user: query.text("user").into_owned(),
            mqtt_client: query.text("mqtt_client").into_owned(),
            filter_subject: query.bytes("filter_subject").to_vec(),
        };
        if request.cid != 0 {
            request.page.limit = 1;
        }
        Ok(request)
    }

    fn wants_account(&self, candidate: &Candidate) -> bool {
        self.account.is_empty() || candidate.is_in(&self.account)
    }

    fn wants(&self, candidate: &Candidate) -> bool {
        // No connection is an MQTT client's.
        self.mqtt_client.is_empty()
            && (self.cid == 0 || self.cid == candidate.cid())
            && (self.user.is_empty() || candidate.has_user(&self.user))
            && (self.account.is_empty()
                || self.filter_subject.is_empty()
                || candidate.can_hear(&self.filter_subject))
    }

    /// The entry of one connection; `listed` are the subscriptions listed so
    /// far in the answer.
    fn entry(&self, candidate: &Candidate, now: MonotonicMillis, listed: &mut usize) -> ConnInfo {
        let mut info = match candidate {
            Candidate::Open(connection) => {
                let since_start = connection.start.millis().until(now);
                let view = connection.view();
                let idle = view.last_activity.until(now);
                let mut info = self.common(&view, since_start, idle);
                if self.auth {
                    info.tls_peer_certs = peer_certificates(connection);
                    info.name_tag = shown_account(&view.identity.account).into();
                }
                info
            }
            Candidate::Closed(closed) => {
                let stop = closed.stop.millis();
                let mut info = self.common(
                    &closed.last,
                    closed.last.start.millis().until(stop),
                    closed.last.last_activity.until(stop),
                );
                if self.auth {
                    // As it was told, which nobody is of the global one.
                    info.name_tag.clone_from(&info.account);
                }
                info.stop = Some(rfc3339(closed.stop.time_of_day()));
                info.reason = closed.reason.to_string();
                info
            }
        };
        if self.subscriptions != Listing::Count {
            self.list_subscriptions(&mut info, candidate, listed);
        }
        info
    }

    fn common(&self, view: &ConnectionView, since_start: Duration, idle: Duration) -> ConnInfo {
        let identity = &view.identity;
        let mut info = ConnInfo {
            cid: view.cid,
            kind: "Client".into(),
            client_type: "nats".into(),
            ip: view.peer.ip().to_canonical().to_string(),
            port: view.peer.port(),
            start: rfc3339(view.start.time_of_day()),
            last_activity: rfc3339(view.last_active()),
            rtt: round_trip(view.rtt.unwrap_or_default()),
            uptime: uptime(since_start),
            idle: uptime(idle),
            pending_bytes: view.pending,
            in_msgs: view.traffic.in_msgs,
            out_msgs: view.traffic.out_msgs,
            in_bytes: view.traffic.in_bytes,
            out_bytes: view.traffic.out_bytes,
            written_msgs: Some(view.traffic.written_msgs),
            written_bytes: Some(view.traffic.written_bytes),
            dropped_msgs: view.traffic.loss.dropped().msgs,
            dropped_bytes: view.traffic.loss.dropped().bytes,
            no_interest_msgs: view.traffic.loss.of(LossReason::NoInterest).msgs,
            stalls: view.stalls,
            subscriptions: view.subscriptions,
            name: identity.name.clone(),
            lang: identity.lang.clone(),
            version: identity.version.clone(),
            ..ConnInfo::default()
        };
        if let Some((version, cipher_suite, is_first)) = view.tls {
            info.tls_version = version.into();
            info.tls_cipher_suite = cipher_suite.into();
            info.tls_first = is_first;
        }
        if self.auth {
            info.authorized_user.clone_from(&identity.user);
            // The global account goes without saying.
            if identity.account != GLOBAL_ACCOUNT {
                info.account.clone_from(&identity.account);
            }
        }
        info
    }

    fn list_subscriptions(&self, info: &mut ConnInfo, candidate: &Candidate, listed: &mut usize) {
        let most = LISTED_SUBSCRIPTIONS_MAX - *listed;
        let views: Vec<SubscriptionView> = match candidate {
            Candidate::Closed(closed) => closed.subscriptions.iter().take(most).cloned().collect(),
            Candidate::Open(connection) => {
                // The lock is held for the list only, not for its texts.
                let table = connection.subscriptions.lock();
                let found: Vec<_> = table.iter().take(most).cloned().collect();
                drop(table);
                found
                    .iter()
                    .map(|subscription| subscription.view())
                    .collect()
            }
        };
        *listed += views.len();
        let account = match candidate {
            Candidate::Closed(closed) => shown_account(&closed.last.identity.account),
            Candidate::Open(_) => "",
        };
        let views = views.into_iter();
        match self.subscriptions {
            Listing::Count => {}
            Listing::Subjects => {
                info.subscriptions_list = views.map(|view| view.subject).collect();
            }
            Listing::Detail => {
                info.subscriptions_list_detail = views.map(|view| detail(view, account)).collect();
            }
        }
    }
}

/// The account that a connection is shown in; `account` is empty before CONNECT.
fn shown_account(account: &str) -> &str {
    match account {
        "" => GLOBAL_ACCOUNT,
        account => account,
    }
}

/// The certificates that a connection's peer showed.
fn peer_certificates(connection: &Connection) -> Vec<TlsPeerCert> {
    let Some(tls) = connection.tls() else {
        return Vec::new();
    };
    let chain = tls.peer_certificates();
    // What the handshake believed can be read.
    let prints = chain
        .iter()
        .filter_map(|der| Fingerprint::from_der(der).ok());
    prints
        .map(|print| TlsPeerCert {
            subject: print.subject,
            spki_sha256: print.spki_sha256,
            cert_sha256: print.cert_sha256,
        })
        .collect()
}

/// A subscription in full; an empty account is left out.
pub(super) fn detail(view: SubscriptionView, account: &str) -> SubDetail {
    SubDetail {
        account: account.to_owned(),
        account_tag: account.to_owned(),
        subject: view.subject,
        qgroup: view.queue.unwrap_or_default(),
        sid: view.sid,
        msgs: view.delivered,
        max: view.max,
        cid: view.cid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        Request::parse(&Query::parse(text)).map_err(|refusal| refusal.message)
    }

    #[test]
    fn parameters_select_state_subscriptions_and_page() {
        for (text, state) in [
            ("", State::Open),
            ("state=OPEN", State::Open),
            ("state=closed", State::Closed),
            ("state=any", State::Any),
            ("state=All", State::Any),
        ] {
            assert_eq!(parse(text).unwrap().state, state, "{text}");
        }
        for (text, subscriptions) in [
            ("", Listing::Count),
            ("subs=0", Listing::Count),
            ("subs=1", Listing::Subjects),
            ("subs=true", Listing::Subjects),
            ("subs=Detail", Listing::Detail),
        ] {
            assert_eq!(parse(text).unwrap().subscriptions, subscriptions, "{text}");
        }
        let request = parse("cid=7&limit=9&offset=0&unknown=1").unwrap();
        assert_eq!((request.cid, request.page.limit), (7, 1));
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (text, message) in [
            ("state=x", "Error decoding state for x"),
            ("sort=foo", "invalid sorting option: foo"),
            ("sort=stop", "sort by stop only valid on closed connections"),
            (
                "sort=reason&state=any",
                "sort by reason only valid on closed connections",
            ),
            (
                "subs=2",
                "Error decoding boolean for 'subs': strconv.ParseBool: parsing \"2\": invalid syntax",
            ),
        ] {
            assert_eq!(parse(text).err().as_deref(), Some(message));
        }
        assert!(parse("sort=stop&state=closed").is_ok());
    }
}
