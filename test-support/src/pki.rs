//! A test CA, made with the openssl command: certificates, keys and CRLs as files in a
//! temporary directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use chrono::{TimeDelta, Utc};
use tempfile::TempDir;

/// A CA and the certificates it has signed.
pub struct Pki {
    folder: TempDir,
}

/// The validity of a certificate, in openssl's date format.
#[derive(Clone, Copy)]
pub enum Term {
    /// From yesterday, for some days.
    Valid,
    /// Until some years ago.
    Expired,
    /// From a date some years ahead.
    NotYet,
    /// From yesterday until this many seconds from now.
    Seconds(u32),
}

impl Pki {
    /// A CA with an empty CRL, and certificates for these names.
    pub fn new(names: &[&str]) -> Self {
        let pki = Self::begin();
        pki.openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.pem -config ca.cnf \
             -extensions v3_ca -subj",
            &["/CN=Puppet CA: test"],
        );
        pki.finish(names)
    }

    /// An intermediate CA signed by this one, with its CRL and certificates. Its `ca.pem`
    /// contains only its own certificate.
    pub fn below(&self, subject: &str, names: &[&str]) -> Self {
        let pki = Self::begin();
        pki.openssl(
            "req -new -newkey rsa:2048 -nodes -keyout ca.key -out ca.csr -config ca.cnf -subj",
            &[subject],
        );
        let files = [pki.text("ca.csr"), pki.text("ca.pem")];
        self.openssl(
            "ca -batch -notext -config ca.cnf -extensions v3_ca -days 20 -in",
            &[&files[0], "-out", &files[1]],
        );
        pki.finish(names)
    }

    /// Uses a CA that was made elsewhere: a file whose first certificate is the CA's, and
    /// its key. It has no CRL yet.
    pub fn of(certificate: &Path, key: &Path) -> Self {
        let pki = Self::begin();
        for (from, to) in [(certificate, "ca.pem"), (key, "ca.key")] {
            fs::copy(from, pki.path(to)).expect("copy the CA");
        }
        pki
    }

    fn begin() -> Self {
        let pki = Self {
            folder: tempfile::tempdir().expect("make a temporary folder"),
        };
        for (name, text) in [
            ("index.txt", ""),
            ("serial", "1000\n"),
            ("crlnumber", "01\n"),
        ] {
            fs::write(pki.folder.path().join(name), text).expect("write the CA's files");
        }
        fs::write(pki.folder.path().join("ca.cnf"), CA_SETTINGS).expect("write the settings");
        pki
    }

    fn finish(self, names: &[&str]) -> Self {
        self.write_crl();
        for name in names {
            self.sign(name, Term::Valid);
        }
        self
    }

    /// Concatenates files into another one, atomically.
    pub fn join(files: &[PathBuf], to: &Path) {
        let all: Vec<u8> = files
            .iter()
            .flat_map(|file| fs::read(file).expect("read a file"))
            .collect();
        let new = to.with_extension("new");
        fs::write(&new, all).expect("write a file");
        fs::rename(new, to).expect("replace a file");
    }

    /// The path of a file: `ca.pem`, `crl.pem`, `NAME.pem`, `NAME.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Signs a certificate for servers and clients. If there is no `NAME.key` yet, an
    /// ECDSA key is made.
    pub fn sign(&self, name: &str, term: Term) {
        let key = match self.path(&format!("{name}.key")).exists() {
            true => format!("-key {name}.key"),
            false => format!(
                "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key"
            ),
        };
        self.openssl(
            &format!("req -new {key} -out {name}.csr -config ca.cnf -subj"),
            &[&format!("/CN={name}")],
        );
        let dates = match term {
            Term::Valid => "-days 10".to_owned(),
            Term::Expired => "-startdate 20200101000000Z -enddate 20210101000000Z".to_owned(),
            Term::NotYet => "-startdate 20980101000000Z -enddate 20990101000000Z".to_owned(),
            Term::Seconds(left) => {
                let end = Utc::now() + TimeDelta::seconds(left.into());
                let begin = Utc::now() - TimeDelta::days(1);
                let format = "%Y%m%d%H%M%SZ";
                format!(
                    "-startdate {} -enddate {}",
                    begin.format(format),
                    end.format(format)
                )
            }
        };
        self.openssl(
            &format!(
                "ca -batch -notext -config ca.cnf -extensions v3_leaf {dates} -in {name}.csr \
                 -out {name}.pem"
            ),
            &[],
        );
    }

    /// Signs a certificate for `host` only.
    pub fn sign_for(&self, name: &str, host: &str) {
        let extensions =
            format!("extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = DNS:{host}\n");
        let file = format!("{name}.ext");
        fs::write(self.path(&file), extensions).expect("write the extensions");
        self.sign(name, Term::Valid);
        self.openssl(
            &format!(
                "ca -batch -notext -config ca.cnf -extfile {file} -days 10 -in {name}.csr \
                 -out {name}.pem"
            ),
            &[],
        );
    }

    /// Turns a certificate into X.509 version 1, as old tools made them: without
    /// extensions. Not all versions of openssl can.
    pub fn make_version_1(&self, name: &str) {
        const VERSION: u8 = 0xa0;
        const EXTENSIONS: u8 = 0xa3;
        let file = |end: &str| format!("{name}.{end}");
        let (pem, der) = (file("pem"), file("der"));
        self.openssl(&format!("x509 -in {pem} -outform DER -out {der}"), &[]);
        let certificate = fs::read(self.path(&der)).expect("a certificate");
        let (_, parts, _) = der_part(&certificate);
        let (signed, fields, rest) = der_part(parts);
        assert_eq!(fields[0], VERSION, "it is of version 1 already");
        let (algorithm, ..) = der_part(rest);
        let mut kept = Vec::new();
        let mut fields = fields;
        while !fields.is_empty() {
            let (whole, _, rest) = der_part(fields);
            if ![VERSION, EXTENSIONS].contains(&whole[0]) {
                kept.extend_from_slice(whole);
            }
            fields = rest;
        }
        let kept = der_sequence(signed[0], &kept);
        fs::write(self.path(&file("tbs")), &kept).expect("write what is to be signed");
        let sign = format!("dgst -sha256 -sign ca.key -out {name}.sig {name}.tbs");
        self.openssl(&sign, &[]);
        let signature = fs::read(self.path(&file("sig"))).expect("a signature");
        // A bit string without unused bits.
        let signature = der_sequence(3, &[&[0], &*signature].concat());
        let certificate = der_sequence(signed[0], &[&*kept, algorithm, &signature].concat());
        fs::write(self.path(&der), certificate).expect("write the certificate");
        self.openssl(
            &format!("x509 -inform DER -in {der} -outform PEM -out {pem}"),
            &[],
        );
    }

    /// Revokes a certificate and writes a new CRL.
    pub fn revoke(&self, name: &str) {
        self.openssl(&format!("ca -batch -config ca.cnf -revoke {name}.pem"), &[]);
        self.write_crl();
    }

    /// Writes a new CRL, valid for some days.
    pub fn write_crl(&self) {
        self.write_crl_for("-crldays 30");
    }

    /// The same with another validity, in openssl's notation: `-crlsec 5`.
    pub fn write_crl_for(&self, time: &str) {
        self.openssl(
            &format!("ca -gencrl {time} -config ca.cnf -out crl.new"),
            &[],
        );
        // Atomically, as tools that distribute CRLs do.
        fs::rename(self.path("crl.new"), self.path("crl.pem")).expect("replace the CRL");
    }

    /// SHA-256 of the public key of a certificate, as in `pinned_certs`.
    pub fn key_digest(&self, name: &str) -> String {
        let commands = [
            format!("x509 -in {name}.pem -noout -pubkey -out {name}.pub"),
            format!("pkey -pubin -in {name}.pub -outform DER -out {name}.der"),
        ];
        commands
            .iter()
            .for_each(|command| self.openssl(command, &[]));
        let der = fs::read(self.path(&format!("{name}.der"))).expect("a key");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        data_encoding::HEXLOWER.encode(digest.as_ref())
    }

    /// Runs openssl in the directory with these arguments, split at spaces, and `more`,
    /// which may contain spaces.
    pub fn openssl(&self, words: &str, more: &[&str]) {
        run_openssl(self.folder.path(), words, more);
    }
}

/// The first DER element, its content, and what follows it.
fn der_part(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (head, len) = match der[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let head = 2 + usize::from(long - 0x80);
            let bytes = der[2..head].iter();
            let len = bytes.fold(0, |len, byte| len << 8 | usize::from(*byte));
            (head, len)
        }
    };
    let (whole, rest) = der.split_at(head + len);
    (whole, &whole[head..], rest)
}

/// A DER element; its length takes two bytes, or one.
fn der_sequence(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("a short part");
    let [high, low] = len.to_be_bytes();
    let head = match len {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

fn run_openssl(folder: &Path, words: &str, more: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(words.split_whitespace())
        .args(more)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs the openssl command (apt-get install openssl): {error}")
        });
    assert!(
        output.status.success(),
        "openssl {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const CA_SETTINGS: &str = "\
[ca]
default_ca = test
[test]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 30
policy = any
crl_extensions = crl_ext
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
commonName = none
[v3_ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[v3_leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:localhost,IP:127.0.0.1
[crl_ext]
authorityKeyIdentifier = keyid
";
