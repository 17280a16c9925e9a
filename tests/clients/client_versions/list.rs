//! The list of client libraries: `versions/clients.txt`, which the installation reads too.

use std::fmt;

/// What a client may be able to do, in the words of the client programs, with the head of its
/// column in the documentation.
pub const FEATURES: [(&str, &str); 7] = [
    ("messages", "publish, subscribe"),
    ("request", "request"),
    ("queue_group", "queue group"),
    ("reconnect", "reconnect"),
    ("tls", "TLS"),
    ("certificate", "certificate"),
    ("headers", "headers"),
];

/// A version of a client library.
pub struct Listed {
    pub registry: &'static str,
    pub package: &'static str,
    pub version: &'static str,
    /// What proves it, a file beside the list; `-` if the client cannot run.
    pub program: &'static str,
    /// Features that it does not have.
    pub lacks: Vec<&'static str>,
    pub remark: &'static str,
}

/// All of them, in the order of the list.
pub fn listed() -> Vec<Listed> {
    include_str!("../versions/clients.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Listed::read)
        .collect()
}

impl Listed {
    fn read(line: &'static str) -> Self {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [registry, package, version, program, lacks, remark] = fields[..] else {
            panic!("not six fields: {line}");
        };
        let lacks: Vec<_> = lacks.split_whitespace().collect();
        for feature in &lacks {
            let known = FEATURES.iter().any(|(name, _)| name == feature);
            assert!(known, "no such feature: {line}");
        }
        Self {
            registry,
            package,
            version,
            program,
            lacks,
            remark,
        }
    }

    /// Whether there is a program for it.
    pub fn runs(&self) -> bool {
        self.program != "-"
    }

    /// The folder that it is installed in.
    pub fn folder(&self) -> String {
        let name = self.package.rsplit('/').next().unwrap_or_default();
        format!("{name}-{}", self.version)
    }

    /// What its program proves.
    pub fn features(&self) -> Vec<&'static str> {
        let names = FEATURES.iter().map(|(name, _)| *name);
        names.filter(|name| !self.lacks.contains(name)).collect()
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.package, self.version)
    }
}
