//! A real DNS server on a free port, with SRV records that a test changes.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{free_address, tools, wait_until};

/// One broker of a record.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The record's full name.
    pub name: &'a str,
    /// The broker's host.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The lowest is tried first.
    pub priority: u16,
    /// Its share among those of one priority.
    pub weight: u16,
}

/// dnsmasq, with records of its own alone.
pub struct Dns {
    child: Option<Child>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Seconds that the next answers may be kept.
    pub ttl: u32,
    folder: TempDir,
}

impl Dns {
    /// Answers with these hosts and ports for the record `name`.
    pub fn start(name: &str, hosts: &[(&str, u16)]) -> Self {
        let mut dns = Self {
            child: None,
            address: free_address(),
            ttl: 0,
            folder: tempfile::tempdir().expect("a folder"),
        };
        dns.list(name, hosts);
        dns
    }

    /// From now on answers with these hosts and ports.
    pub fn list(&mut self, name: &str, hosts: &[(&str, u16)]) {
        let entries = hosts.iter().map(|(host, port)| Entry {
            name,
            host,
            port: *port,
            priority: 0,
            weight: 0,
        });
        self.answer(&entries.collect::<Vec<_>>());
    }

    /// From now on answers with these entries.
    pub fn answer(&mut self, entries: &[Entry<'_>]) {
        let records = entries.iter().map(|it| {
            let Entry {
                name,
                host,
                port,
                priority,
                weight,
            } = it;
            format!("srv-host={name},{host},{port},{priority},{weight}\n")
        });
        let config = format!(
            "port={}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n\
             pid-file=\nuser=\nlocal=/example.net/\nlocal-ttl={}\n{}",
            self.address.port(),
            self.ttl,
            records.collect::<String>()
        );
        let file = self.folder.path().join("dnsmasq.conf");
        fs::write(&file, config).expect("write the configuration");
        self.stop();
        let log = self.folder.path().join("log");
        let child = Command::new(tools::dnsmasq())
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", file.display()))
            .arg(format!("--log-facility={}", log.display()))
            .stdin(Stdio::null())
            .spawn()
            .expect("start dnsmasq");
        self.child = Some(child);
        let address = self.address;
        wait_until("the DNS server listens", || {
            TcpStream::connect(address).is_ok()
        });
    }

    /// Answers nothing any more.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Failures do not matter here: it has ended, or ends now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("--- log of the DNS server ---\n{}", log.unwrap_or_default());
        }
    }
}
