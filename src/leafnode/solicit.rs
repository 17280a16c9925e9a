//! The dialling side of the introduction: INFO of the hub, TLS, our CONNECT, and the INFO by which the
//! hub lets us in.
//!
//! We send no INFO, so that the connection is not compressed. What the hub sends is bounded and parsed
//! by [`BeforeLogin`], like what a broker sends that dials us.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Leafnode, Leafnodes,
    login::{Known, is_cluster_name, origin},
    remote::Remote,
};
use crate::{
    config::options::leafnodes::remotes::RemoteUrl,
    connection::{
        Connection, handshake::Handshakers, reading::read_some, tls_listener::TlsListener,
    },
    delivery::leaf_side::LeafSide,
    protocol::{
        PONG,
        before_login::{BeforeLogin, BeforeLoginError, Expected, INFO_LEN_MAX, Step},
        error::quoted,
        json_fault,
        leafnode::{HubInfo, IS_MUTUAL, LeafRules},
    },
    security::{
        options::HandshakeFirst,
        permissions::{Pattern, Permissions, SubjectRules},
        store::TlsStore,
    },
    telemetry::{pool::shorten, threads},
};

/// How long the hub may take to let us in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a hub was not joined.
pub(super) struct NotJoined {
    /// The reason, without a secret.
    pub(super) why: String,
    /// Whether the hub refuses this broker, so that trying often is of no use.
    pub(super) is_refused: bool,
}

impl From<String> for NotJoined {
    fn from(why: String) -> Self {
        Self {
            why,
            is_refused: false,
        }
    }
}

impl From<&str> for NotJoined {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// A hub that has let us in.
pub(super) struct Joined {
    /// Its first INFO.
    pub(super) info: HubInfo,
    /// Its account.
    pub(super) remote_account: String,
    /// What it permits.
    pub(super) rules: HubRules,
    /// What was received behind its last INFO.
    pub(super) rest: Vec<u8>,
}

/// What may be exchanged with a hub, by its word and by the configuration here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct HubRules {
    /// What it may send, and what interest it may be told of.
    import: SubjectRules,
    /// What it may be sent.
    export: SubjectRules,
}

/// A new connection to a hub, and what was received on it.
pub(super) struct Solicitation<'a> {
    pub(super) leafnodes: &'a Leafnodes,
    pub(super) remote: &'a Remote,
    pub(super) url: &'a RemoteUrl,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) stream: &'a Arc<TcpStream>,
    input: BeforeLogin,
}

impl<'a> Solicitation<'a> {
    pub(super) fn new(
        leafnodes: &'a Leafnodes,
        remote: &'a Remote,
        url: &'a RemoteUrl,
        connection: &'a Arc<Connection>,
        stream: &'a Arc<TcpStream>,
    ) -> Self {
        let input = BeforeLogin::new(Expected::RouteInfo, INFO_LEN_MAX, Instant::now().into_std());
        Self {
            leafnodes,
            remote,
            url,
            connection,
            stream,
            input,
        }
    }

    /// The whole introduction.
    pub(super) async fn join(mut self) -> Result<Joined, NotJoined> {
        let remote = self.remote;
        let introduced = self.introduce().await;
        let tls = remote.tls();
        let lacks_certificate = tls.is_some_and(|tls| tls.store.current().take_lack());
        introduced.map_err(|mut failed| {
            if lacks_certificate {
                failed.why = format!(
                    "it asks for a certificate: name cert_file and key_file in \"tls\" ({})",
                    failed.why
                );
            }
            failed
        })
    }

    async fn introduce(&mut self) -> Result<Joined, NotJoined> {
        let block = self.remote.options.tls.as_ref();
        let is_first = block.is_some_and(|tls| tls.handshake_first == HandshakeFirst::Yes);
        if is_first {
            self.secure().await?;
        }
        let patience = self.remote.options.first_info_timeout;
        let info = self.receive_info(patience, "INFO").await?;
        self.check(&info)?;
        let wants_tls = block.is_some() || self.url.is_tls;
        match info.tls_required {
            _ if is_first => {}
            true => {
                if !self.input.buffer().is_empty() {
                    return Err("it sent more before TLS than INFO".into());
                }
                self.secure().await?;
            }
            false if wants_tls => {
                return Err(
                    "it does not offer TLS: configure TLS for its leafnodes, or remove \
                            \"tls\" here and write nats-leaf:// in place of tls://"
                        .into(),
                );
            }
            false => {}
        }
        let (leafnodes, remote) = (self.leafnodes, self.remote);
        let connect = leafnodes.connect_for(remote, &self.url.url, &info).await?;
        self.connection.send_now(&connect.line());
        let mut second = info.clone();
        if info.info_on_connect {
            second = self
                .receive_info(ANSWER_TIMEOUT, "an answer to CONNECT")
                .await?;
        }
        remote.take_urls(&second);
        Ok(Joined {
            rules: Leafnodes::rules_of(remote, &second),
            remote_account: second.remote_account,
            info,
            rest: self.input.take_rest(),
        })
    }

    /// Whether an INFO is that of a port for leafnodes of another broker.
    fn check(&self, info: &HubInfo) -> Result<(), NotJoined> {
        if info.client_id == 0 || info.leafnode_urls.is_none() {
            return Err("attempted to connect to wrong port: that is no port for leafnodes".into());
        }
        if !is_cluster_name(&info.cluster) {
            return Err("cluster name cannot contain spaces".into());
        }
        if info.server_id == self.leafnodes.node.server_id {
            return Err(NotJoined {
                why: "that is this broker itself".to_owned(),
                is_refused: true,
            });
        }
        Ok(())
    }

    /// The TLS handshake.
    async fn secure(&self) -> Result<(), NotJoined> {
        let tls = match self.remote.tls() {
            Some(tls) => tls,
            None => self.usual_tls().await?,
        };
        let secured = tls.connect(self.stream, &self.url.url.host).await;
        let secured = secured.map_err(|failure| format!("TLS handshake error: {failure}"))?;
        secured.adopt(self.connection, true);
        Ok(())
    }

    /// TLS of a hub that asks for it without a block here. Files are read for it, on a thread of its
    /// own.
    async fn usual_tls(&self) -> Result<Arc<TlsListener>, NotJoined> {
        let options = self.remote.options.usual_tls();
        let calls = self.leafnodes.broker.telemetry.calls.clone();
        let open = move || {
            let _call = calls.begin("reading the TLS files of", options.place.clone());
            let store = TlsStore::load(&options).map_err(io::Error::other)?;
            Ok(TlsListener::new(store, Handshakers::shared()?))
        };
        let opened = threads::run("tls-files", open).await;
        let opened = opened.and_then(|opened: io::Result<_>| opened);
        let opened = opened.map_err(|error| format!("TLS: {error}"))?;
        Ok(self.remote.set_tls(Arc::new(opened)))
    }

    /// Receives an INFO.
    async fn receive_info(&mut self, patience: Duration, what: &str) -> Result<HubInfo, NotJoined> {
        let deadline = Instant::now() + patience;
        self.input
            .expect(Expected::RouteInfo, INFO_LEN_MAX, deadline.into_std());
        loop {
            match self.input.step(Instant::now().into_std()) {
                Ok(Step::Wait) => self.read(deadline, what).await?,
                Ok(Step::Ping) => self.connection.send_now(PONG),
                Ok(Step::Info(json)) => {
                    let info = serde_json::from_slice(&json);
                    return info.map_err(|error| {
                        NotJoined::from(format!("its INFO is {}", json_fault(&error)))
                    });
                }
                Ok(Step::Connect(_) | Step::Answered) => {
                    return Err("it begins with something else than INFO".into());
                }
                Err(BeforeLoginError::Timeout) => return Err(late(what, patience)),
                Err(BeforeLoginError::Error(text)) => return Err(self.refused(&text)),
                Err(_) => return Err(format!("it sent something else than {what}").into()),
            }
        }
    }

    /// The hub said why it closes the connection.
    fn refused(&self, text: &[u8]) -> NotJoined {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_matches('\'');
        self.remote.heed_error(text);
        NotJoined {
            why: format!("it refuses: {}", quoted(text.as_bytes())),
            is_refused: true,
        }
    }

    async fn read(&mut self, deadline: Instant, what: &str) -> Result<(), NotJoined> {
        let read = read_some(self.connection, self.stream, self.input.buffer());
        match timeout_at(deadline, read).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format!("it closed the connection before {what}").into())
            }
            Ok(Err(error)) => Err(error.to_string().into()),
            // The next step says so.
            Err(_) => Ok(()),
        }
    }
}

fn late(what: &str, patience: Duration) -> NotJoined {
    let what = what.trim_start_matches("an ");
    format!("no {what} within {patience:?}").into()
}

impl Leafnodes {
    /// What may be exchanged with a hub that has sent this INFO.
    pub(super) fn rules_of(remote: &Remote, info: &HubInfo) -> HubRules {
        HubRules {
            import: rules(info.import.as_ref(), &remote.options.deny_imports),
            export: rules(info.export.as_ref(), &remote.options.deny_exports),
        }
    }

    /// Adds a hub that has let us in to what is served.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(super) fn register_hub(
        &self,
        remote: &Arc<Remote>,
        url: &RemoteUrl,
        connection: &Arc<Connection>,
        joined: &Joined,
    ) -> Result<Arc<Leafnode>, NotJoined> {
        let options = &remote.options;
        let account = self.broker.accounts.find(&options.account);
        let account = account.ok_or_else(|| {
            NotJoined::from(format!("the account {:?} is not defined", options.account))
        })?;
        let info = &joined.info;
        let name = match info.server_name.is_empty() {
            true => &info.server_id,
            false => &info.server_name,
        };
        let HubRules { import, export } = &joined.rules;
        let any = SubjectRules::default;
        let is_limited = |rules: &SubjectRules| *rules != any();
        let imports = is_limited(import);
        let leaf = Arc::new(Leafnode {
            connection: connection.clone(),
            name: shorten(name).into_owned(),
            server_id: shorten(&info.server_id).into_owned(),
            is_midge: !info.midge.is_empty(),
            account,
            remote_account: shorten(&joined.remote_account).into_owned(),
            side: Arc::new(LeafSide {
                origin: origin(&info.cluster, connection),
                is_hub: !options.is_hub,
                is_isolated: self.options.isolates || options.isolates,
                receives: is_limited(export)
                    .then(|| Arc::new(Permissions::new(any(), export.clone()))),
                announces: (imports && !options.is_hub)
                    .then(|| Arc::new(Permissions::new(any(), import.clone()))),
            }),
            interest: Default::default(),
            sends: imports.then(|| Arc::new(Permissions::new(import.clone(), any()))),
            shown: None,
            is_introduced: AtomicBool::new(false),
            remote: Some(remote.clone()),
        });
        let known = Known {
            name: leaf.name.clone(),
            version: shorten(&info.version).into_owned(),
            headers: info.headers,
            protocol: info.proto,
            // Without a password it may be a token, which is a secret.
            user: match url.url.password.is_empty() {
                true => String::new(),
                false => url.url.user.clone(),
            },
            proof: 0,
        };
        if let Ok(max) = usize::try_from(info.max_payload)
            && max > 0
        {
            connection.set_payload_max(max);
        }
        self.enter(&leaf, known).map_err(|end| {
            if let Some(line) = end.error_line() {
                connection.send_now(&line);
            }
            let why = end.text();
            remote.heed_error(&why);
            NotJoined {
                is_refused: why.contains(IS_MUTUAL),
                why,
            }
        })?;
        Ok(leaf)
    }
}

/// The rules that a hub tells of, and what is not wanted here.
fn rules(told: Option<&LeafRules>, denied: &[Pattern]) -> SubjectRules {
    let parse = |texts: &Vec<String>| -> Vec<Pattern> {
        // A subject that is none matches nothing.
        let patterns = texts.iter().filter_map(|it| Pattern::parse(it, true).ok());
        patterns.collect()
    };
    let deny = told.and_then(|told| told.deny.as_ref());
    let mut deny = deny.map(parse).unwrap_or_default();
    deny.extend(denied.iter().cloned());
    SubjectRules {
        allow: told.and_then(|told| told.allow.as_ref()).map(parse),
        deny,
    }
}
