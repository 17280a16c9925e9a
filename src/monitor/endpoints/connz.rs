//! `/connz`: the connections, open and closed, one entry each.
//!
//! Only what selects and orders connections is read of all of them; the entries are
//! made for the page alone, so that a page's cost depends little on
//! how many connections there are.

use std::sync::Arc;

use monitor_client::{ConnInfo, Connz, SubDetail, TlsPeerCert};

use super::{
    super::Monitor,
    connz_sort::Order,
    page::Page,
    query::{Listing, Query},
    refusal::Refusal,
    time_text::{rfc3339, round_trip, uptime},
};
use crate::{
    account::GLOBAL_ACCOUNT,
    broker::registry::{ClosedConnection, ConnectionView, Registry, SubscriptionView},
    connection::{Connection, Kind},
    security::certificate::Fingerprint,
    subject::overlap,
    sublist::Entry,
    telemetry::{MonotonicMillis, WallClock, loss::LossReason},
};

/// Subscriptions listed in one answer; an entry's count shows when its list is
/// cut short.
const LISTED_SUBSCRIPTIONS_MAX: usize = 64 * 1024;

/// The connections asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::monitor) enum State {
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
pub(in crate::monitor) enum Candidate {
    Closed(Arc<ClosedConnection>),
    Open(Arc<Connection>),
}

/// The answer.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Connz, Refusal> {
    Ok(build(monitor, &Request::parse(query)?))
}

fn build(monitor: &Monitor, request: &Request) -> Connz {
    let broker = &monitor.server.broker;
    let clock = MonotonicMillis::now();
    let (total, page) = match request.is_plain() {
        true => {
            let Page { offset, limit } = request.page;
            let (total, page) = broker.registry.page(offset, limit);
            (total, page.into_iter().map(Candidate::Open).collect())
        }
        false => request.select(&broker.registry, clock),
    };
    let mut writer = Writer {
        request,
        now: clock,
        wall_clock: WallClock::read(),
        listed: 0,
    };
    let connections: Vec<_> = page.iter().map(|one| writer.entry(one)).collect();
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
        found.extend(registry.open(Kind::Client).into_iter().map(Candidate::Open));
    }
    if state != State::Open {
        found.extend(registry.closed().into_iter().map(Candidate::Closed));
    }
    if state == State::Any {
        // One that ended between the two reads is in both lists.
        found.sort_by_key(Candidate::cid);
        found.dedup_by_key(|candidate| candidate.cid());
    }
    found
}

impl Candidate {
    pub(in crate::monitor) fn cid(&self) -> u64 {
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

    /// Whether it asks for open connections by their ids and no more: most requests do,
    /// and they need no connection but those on the page.
    fn is_plain(&self) -> bool {
        self.state == State::Open
            && self.order == Order::Cid
            && self.cid == 0
            && [&self.account, &self.user, &self.mqtt_client]
                .iter()
                .all(|text| text.is_empty())
    }

    /// How many connections there are before `user` and the like select, and those on
    /// the page.
    fn select(&self, registry: &Registry, clock: MonotonicMillis) -> (usize, Vec<Candidate>) {
        let mut candidates = candidates(registry, self.state);
        candidates.retain(|candidate| self.wants_account(candidate));
        let total = candidates.len();
        candidates.retain(|candidate| self.wants(candidate));
        self.order.sort(&mut candidates, clock);
        (total, self.page.cut(candidates).collect())
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
}

/// Writes the entries of an answer.
struct Writer<'a> {
    request: &'a Request,
    /// The time of the answer.
    now: MonotonicMillis,
    wall_clock: WallClock,
    /// Subscriptions that are listed so far.
    listed: usize,
}

impl Writer<'_> {
    /// The entry of one connection.
    fn entry(&mut self, candidate: &Candidate) -> ConnInfo {
        let mut info = match candidate {
            Candidate::Open(connection) => {
                let view = connection.view();
                let name_tag = match self.request.auth {
                    true => shown_account(&view.identity.account).to_owned(),
                    false => String::new(),
                };
                let mut info = self.common(view, self.now);
                if self.request.auth {
                    info.tls_peer_certs = peer_certificates(connection);
                    info.name_tag = name_tag;
                }
                info
            }
            Candidate::Closed(closed) => {
                let mut info = self.common(closed.last.clone(), closed.stop.millis());
                if self.request.auth {
                    // As `account` above, where the global one is left out.
                    info.name_tag.clone_from(&info.account);
                }
                info.stop = Some(rfc3339(self.wall_clock.at_micros(closed.stop)));
                info.reason = closed.reason.to_string();
                info
            }
        };
        if self.request.subscriptions != Listing::Count {
            self.list_subscriptions(&mut info, candidate);
        }
        info
    }

    /// The fields common to open and closed connections, as of `now`.
    fn common(&self, view: ConnectionView, now: MonotonicMillis) -> ConnInfo {
        let last_active = view.last_active(self.wall_clock);
        let identity = view.identity;
        let mut info = ConnInfo {
            cid: view.cid,
            kind: Kind::Client.name().into(),
            client_type: view.client_type.into(),
            ip: view.peer.ip().to_canonical().to_string(),
            port: view.peer.port(),
            start: rfc3339(self.wall_clock.at_micros(view.start)),
            last_activity: rfc3339(last_active),
            rtt: round_trip(view.rtt.unwrap_or_default()),
            uptime: uptime(view.start.millis().until(now)),
            idle: uptime(view.last_activity.until(now)),
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
            name: identity.name,
            certname: identity.certname,
            lang: identity.lang,
            version: identity.version,
            ..ConnInfo::default()
        };
        if let Some((version, cipher_suite, is_first)) = view.tls {
            info.tls_version = version.into();
            info.tls_cipher_suite = cipher_suite.into();
            info.tls_first = is_first;
        }
        if self.request.auth {
            info.authorized_user = identity.user;
            // The global account is left out.
            if identity.account != GLOBAL_ACCOUNT {
                info.account = identity.account;
            }
        }
        info
    }

    fn list_subscriptions(&mut self, info: &mut ConnInfo, candidate: &Candidate) {
        let most = LISTED_SUBSCRIPTIONS_MAX - self.listed;
        let in_detail = self.request.subscriptions == Listing::Detail;
        let (subjects, details) = (
            &mut info.subscriptions_list,
            &mut info.subscriptions_list_detail,
        );
        match candidate {
            Candidate::Closed(closed) => {
                let account = shown_account(&closed.last.identity.account);
                let views = closed.subscriptions.iter().take(most);
                match in_detail {
                    true => details.extend(views.map(|view| detail(view.clone(), account))),
                    false => subjects.extend(views.map(|view| view.subject.clone())),
                }
            }
            Candidate::Open(connection) => {
                // The lock is held for the list only, not for its texts.
                let table = connection.subscriptions.lock();
                let found: Vec<_> = table.iter().take(most).cloned().collect();
                drop(table);
                let text = |subject: &[u8]| String::from_utf8_lossy(subject).into_owned();
                match in_detail {
                    true => details.extend(found.iter().map(|known| detail(known.view(), ""))),
                    false => subjects.extend(found.iter().map(|known| text(known.subject()))),
                }
            }
        }
        self.listed += subjects.len() + details.len();
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
    // A certificate that the handshake accepted can be parsed.
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
pub(in crate::monitor) fn detail(view: SubscriptionView, account: &str) -> SubDetail {
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
