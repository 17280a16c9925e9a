//! Temporary.
#![allow(missing_docs)]
use std::{path::PathBuf, time::Duration};
#[derive(Clone)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub client_advertise: Option<String>,
    pub server_name: Option<String>,
    pub max_connections: i64,
    pub max_subscriptions: usize,
    pub max_sub_tokens: usize,
    pub max_payload: usize,
    pub max_pending: usize,
    pub lame_duck_duration: Duration,
    pub lame_duck_grace_period: Duration,
    pub max_memory: Option<usize>,
    pub max_control_line: usize,
    pub max_closed_clients: usize,
    pub ping_interval: Duration,
    pub ping_max: u32,
    pub write_deadline: Duration,
    pub no_header_support: bool,
    pub trace: bool,
    pub pid_file: Option<PathBuf>,
    pub ports_file_dir: Option<PathBuf>,
    pub config_file: Option<PathBuf>,
    pub config_digest: String,
    pub mon: u16,
}
impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 4222,
            client_advertise: None,
            server_name: None,
            max_connections: 65536,
            max_subscriptions: 0,
            max_sub_tokens: 0,
            max_payload: 1 << 20,
            max_pending: 64 << 20,
            max_memory: None,
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            max_control_line: 4096,
            max_closed_clients: 10000,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            no_header_support: false,
            trace: false,
            pid_file: None,
            ports_file_dir: None,
            config_file: None,
            config_digest: String::new(),
            mon: 8222,
        }
    }
}
impl Options {
    pub fn monitor_address(&self) -> Option<(&str, u16)> {
        Some(("127.0.0.1", self.mon))
    }
}
