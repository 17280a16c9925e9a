//! How this broker logs in at a hub: user and password of the URL, an nkey, or a credentials file.

use std::path::Path;

use super::{Leafnodes, remote::Remote};
use crate::{
    COMPATIBLE_VERSION, VERSION,
    config::options::cluster::RouteUrl,
    protocol::{
        leafnode::{HubInfo, LeafConnect},
        nkey::UserSeed,
        route::TRACING_PROTO,
    },
    telemetry::threads,
};

/// Bytes of a credentials file.
const CREDENTIALS_MAX: u64 = 256 * 1024;

/// What precedes the seed in a credentials file, and the JWT.
const SEED_BEGIN: &str = "BEGIN USER NKEY SEED";
const JWT_BEGIN: &str = "BEGIN NATS USER JWT";

impl Leafnodes {
    /// The CONNECT for a hub.
    ///
    /// # Errors
    ///
    /// Why this broker cannot log in, without a secret.
    pub(super) async fn connect_for(
        &self,
        remote: &Remote,
        url: &RouteUrl,
        info: &HubInfo,
    ) -> Result<LeafConnect, String> {
        let options = &remote.options;
        let cluster = self.broker.info.read().cluster.clone();
        let mut connect = LeafConnect {
            version: COMPATIBLE_VERSION.into(),
            midge: VERSION.into(),
            server_id: self.node.server_id.clone(),
            name: self.node.server_name.clone(),
            cluster: match cluster.is_empty() {
                true => self.node.server_name.clone(),
                false => cluster,
            },
            is_hub: options.is_hub,
            headers: info.headers && self.limits().headers,
            isolate: options.asks_for_isolation,
            deny_pub: options
                .deny_imports
                .iter()
                .map(|it| it.subject.clone())
                .collect(),
            compress_mode: match info.compression.is_empty() {
                true => "not supported",
                false => "off",
            },
            remote_account: options.account.clone(),
            protocol: TRACING_PROTO,
            user: url.user.clone(),
            pass: url.password.reveal().to_owned(),
            ..LeafConnect::default()
        };
        if connect.pass.is_empty() {
            connect.auth_token.clone_from(&connect.user);
        }
        let seed = match &options.credentials {
            Some(file) => {
                let (jwt, seed) = self.read_credentials(file).await?;
                connect.jwt = jwt;
                Some(seed)
            }
            None => options.nkey.clone(),
        };
        if let Some(seed) = seed {
            if info.nonce.is_empty() {
                return Err("the hub sends no nonce, which a key has to sign".to_owned());
            }
            let signed = seed.sign(&info.nonce);
            let (key, signature) = signed.ok_or("the seed of the nkey is none")?;
            if connect.jwt.is_empty() {
                connect.nkey = key;
            }
            connect.sig = signature;
        }
        Ok(connect)
    }

    /// Reads a credentials file on a thread of its own, as the disk may hang.
    async fn read_credentials(&self, file: &Path) -> Result<(String, UserSeed), String> {
        let (file, calls) = (file.to_owned(), self.broker.telemetry.calls.clone());
        let shown = file.display().to_string();
        let work = move || {
            let _call = calls.begin("reading the credentials file", file.display().to_string());
            let len = std::fs::metadata(&file)?.len();
            if len > CREDENTIALS_MAX {
                let text = format!("it is larger than {CREDENTIALS_MAX} bytes");
                return Err(std::io::Error::other(text));
            }
            std::fs::read_to_string(&file)
        };
        let read = threads::run("credentials", work).await;
        let read = read.and_then(|read| read);
        let text = read.map_err(|error| format!("the credentials file {shown}: {error}"))?;
        parse_credentials(&text).map_err(|why| format!("the credentials file {shown} {why}"))
    }
}

/// The JWT and the seed of a credentials file: each is the line behind its heading.
fn parse_credentials(text: &str) -> Result<(String, UserSeed), &'static str> {
    let below = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(heading));
        lines.next()?;
        lines.map(str::trim).find(|line| !line.is_empty())
    };
    let jwt = below(JWT_BEGIN).ok_or("holds no JWT of a user")?;
    let seed = below(SEED_BEGIN).ok_or("holds no seed of a user")?;
    Ok((jwt.to_owned(), UserSeed::parse(seed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_jwt_and_a_seed() {
        let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
        let file = |seed: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\neyJ0.abc.def\n------END NATS USER JWT------\n\n\
                 ** IMPORTANT **\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
                 ------END USER NKEY SEED------\n"
            )
        };
        let (jwt, parsed) = parse_credentials(&file(seed)).expect("both are there");
        assert_eq!(jwt, "eyJ0.abc.def");
        assert!(parsed.public_key().starts_with('U'));
        assert!(parse_credentials("").is_err());
        assert!(parse_credentials(&file("SUA")).is_err());
        assert!(parse_credentials("-----BEGIN NATS USER JWT-----\nabc\n").is_err());
    }
}
