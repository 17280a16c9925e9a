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
    security::credentials_file,
    telemetry::threads,
};

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
        let work = move || {
            let _call = calls.begin("reading the credentials file", file.display().to_string());
            credentials_file::read(&file)
        };
        let read = threads::run("credentials", work).await;
        read.map_err(|error| error.to_string())?
    }
}
