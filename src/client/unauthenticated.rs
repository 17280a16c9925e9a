//! A client that has to log in and has not: what it says goes to
//! [`BeforeLogin`], and what comes of that happens here. The session asks; what a
//! CONNECT leads to is decided in `login`.

use tokio::time::Instant;

use super::{Context, end::End, session::Session};
use crate::{
    connection::{admission::Place, buffers::ThreadBuffers},
    protocol::{
        before_login::{BeforeLogin, BeforeLoginError, Expected, Step},
        connect::Credentials,
        parse::Op,
    },
    security::{refusal::Refusal, verdict::Verdict},
};

/// A client that has to log in and has not.
pub(super) struct Unauthenticated {
    said: BeforeLogin,
    /// The place that it takes among those like it.
    place: Option<Place>,
}

impl Unauthenticated {
    /// What a new client is, unless everybody is let in.
    pub(super) fn new(context: &Context, place: Option<Place>) -> Option<Box<Self>> {
        let limits = context.limits.current();
        let deadline = std::time::Instant::now() + limits.auth_timeout;
        let required = context.authentication.read().is_required();
        required.then(|| {
            let said = BeforeLogin::new(Expected::ClientConnect, limits.max_control_line, deadline);
            Box::new(Self { said, place })
        })
    }

    /// When it is too late.
    pub(super) fn deadline(&self) -> Instant {
        Instant::from_std(self.said.deadline())
    }

    /// Whether the time to log in is over.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline() <= now
    }
}

impl Session {
    /// The time to log in begins, if the client has to.
    pub(super) fn begin_login(&mut self, place: Option<Place>) {
        self.unauthenticated = Unauthenticated::new(&self.context, place);
        self.input.read_little(self.unauthenticated.is_some());
    }

    /// Nobody has to log in any more: what the client has said so far is the
    /// session's.
    pub(super) fn need_no_login(&mut self) {
        let said = self
            .unauthenticated
            .take()
            .map(|mut known| known.said.take_rest());
        self.input.read_little(false);
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            self.input.keep(&said);
        }
    }

    /// Handles what a stranger sent: its first operation must be CONNECT. If it is
    /// in then, the rest is the session's.
    pub(super) fn admit(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) -> Result<(), End> {
        let Some(Unauthenticated { said, place }) = self.unauthenticated.as_deref_mut() else {
            return Ok(());
        };
        if let Some(place) = place {
            place.heard();
        }
        said.buffer().extend_from_slice(bytes);
        let connect = match said.step(std::time::Instant::now()) {
            Ok(Step::Connect(json)) => Some(json),
            // Nobody has to say CONNECT who needs no credentials.
            Err(BeforeLoginError::Unexpected) => None,
            Err(BeforeLoginError::Parse(error)) => {
                return Err(End::from(error).quoting(said.buffer(), false));
            }
            Err(BeforeLoginError::Timeout) => return Err(self.refuse_late()),
            // What else there is comes from brokers only.
            Ok(_) | Err(_) => return Ok(()),
        };
        let rest = said.take_rest();
        self.input.keep(&rest);
        match connect {
            Some(json) => self.act(buffers, Op::Connect(&json))?,
            None => self
                .connect_silently(buffers)
                .map_err(|end| end.quoting(&rest, false))?,
        }
        if self.pending_login.is_none() {
            self.resume(buffers);
        }
        Ok(())
    }

    /// Lets a client in that did not say CONNECT, where that is enough.
    fn connect_silently(&mut self, buffers: &mut ThreadBuffers) -> Result<(), End> {
        let authentication = self.context.authentication.read().clone();
        let login = match authentication.admits_without_credentials() {
            true => self.identify(&self.options, 0),
            false => Verdict::Refuse(Refusal::NotLoggedIn),
        };
        match login {
            Verdict::Accept(login) => {
                self.enter(buffers, login, &Credentials::default())?;
                self.connected = true;
                Ok(())
            }
            Verdict::Check(_) => Err(self.refuse(&Credentials::default(), Refusal::NotLoggedIn)),
            Verdict::Refuse(refusal) => Err(self.refuse(&Credentials::default(), refusal)),
        }
    }
}
