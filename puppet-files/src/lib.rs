//! Finds the certificate, key, CA and CRL of this host's Puppet agent.
//!
//! The broker uses them for `tls { puppet: true }`, `check_nats` for `--puppet`; a crate, because
//! neither of the two knows the other. Puppet itself is not run: its settings are read from the
//! places that Puppet 5 to 8 use, including Debian's packages, and its files have a fixed layout
//! below `ssldir`.

use std::{
    env, error, fmt, fs,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Size limit of the settings file in bytes.
const SETTINGS_LEN_MAX: u64 = 1 << 20;

/// Files with Puppet's settings, in the order they are tried.
const SETTINGS: &[&str] = &[
    "/etc/puppetlabs/puppet/puppet.conf",
    "/etc/puppet/puppet.conf",
];

/// Defaults of `ssldir`: of Puppet's own packages, of Debian's, and of old ones.
const SSL_DIRS: &[&str] = &[
    "/etc/puppetlabs/puppet/ssl",
    "/var/lib/puppet/ssl",
    "/etc/puppet/ssl",
];

/// Defaults of `vardir`: of Puppet's own packages, of Debian's, and of old ones.
const VAR_DIRS: &[&str] = &[
    "/opt/puppetlabs/puppet/cache",
    "/var/cache/puppet",
    "/var/lib/puppet",
];

/// Sections of the settings that matter, by precedence: those that the agent uses, since the
/// certificate is the agent's.
const SECTIONS: &[&str] = &["agent", "main"];

/// Where an agent that does not run as root keeps its settings and `ssl`, below its home.
const HOME_DIR: &str = ".puppetlabs/etc/puppet";

/// The files of this host's agent. They may be missing or unreadable themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PuppetFiles {
    /// The name of this host's certificate.
    pub certname: String,
    /// This host's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA's certificates.
    pub ca: PathBuf,
    /// The CA's CRLs.
    pub crl: PathBuf,
}

/// Why the files are not known, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file or folder; `None` if the error does not concern a single one.
    pub file: Option<PathBuf>,
    /// What is wrong and how to correct it.
    pub text: String,
}

impl PuppetFiles {
    /// Finds them below `ssl_dir`; `None` to ask Puppet's settings.
    ///
    ///  # Errors
    ///
    /// What was not found, and where it was searched; or Puppet's settings or the folder of the
    /// certificates cannot be read, so that another host's might be taken.
    pub fn find(ssl_dir: Option<&Path>) -> Result<Self, Error> {
        let settings = Settings::find()?;
        let ssl_dir = find_ssl_dir(ssl_dir, &settings)?;
        let certname = certname(&settings, &ssl_dir)?;
        let file = |setting: &str, folder: &str, name: &str| {
            let named = settings.path(setting, &ssl_dir, &certname);
            named.unwrap_or_else(|| ssl_dir.join(folder).join(name))
        };
        let pem = format!("{certname}.pem");
        Ok(Self {
            certificate: file("hostcert", "certs", &pem),
            key: file("hostprivkey", "private_keys", &pem),
            ca: file("localcacert", "certs", "ca.pem"),
            crl: file("hostcrl", "", "crl.pem"),
            certname,
        })
    }
}

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self {
            file: None,
            text: text.into(),
        }
    }

    fn in_file(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            text: text.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl error::Error for Error {}

fn find_ssl_dir(named: Option<&Path>, settings: &Settings) -> Result<PathBuf, Error> {
    let named = named.map(Into::into).or_else(|| settings.ssl_dir());
    if let Some(folder) = named {
        return match folder.join("certs").is_dir() {
            true => Ok(folder),
            false => Err(Error::in_file(
                &folder,
                "is no ssldir of Puppet: it has no folder certs that this user may read; run \
                 puppet agent -t once, or name another with ssldir",
            )),
        };
    }
    let folders = ssl_dirs(home_dir());
    for folder in &folders {
        match fs::metadata(folder.join("certs")) {
            Ok(found) if found.is_dir() => return Ok(folder.clone()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(Error::in_file(
                    folder,
                    "this user may not read it: make the user a member of the group that may \
                     (puppet, with Debian's packages), or name another folder with ssldir",
                ));
            }
            _ => {}
        }
    }
    Err(Error::new(format!(
        "puppet: no ssldir of Puppet found; looked at {}: install the agent and run it once, or \
         name the folder with ssldir",
        folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    )))
}

/// The folders to look at, in their order: an agent of this user alone comes last.
fn ssl_dirs(home: Option<PathBuf>) -> Vec<PathBuf> {
    let of_home = home.map(|home| home.join("ssl"));
    SSL_DIRS.iter().map(PathBuf::from).chain(of_home).collect()
}

/// Where an agent of this user keeps its files, if it is not root.
fn home_dir() -> Option<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(HOME_DIR))
}

/// The name of this host's certificate: the configured one, otherwise the only one found, or the
/// one with the host's own name if there are several.
fn certname(settings: &Settings, ssl_dir: &Path) -> Result<String, Error> {
    if let Some(name) = settings.get("certname") {
        return Ok(name.to_lowercase());
    }
    let folder = ssl_dir.join("certs");
    let entries = fs::read_dir(&folder)
        .map_err(|error| Error::in_file(&folder, format!("cannot be read: {error}")))?;
    let entries: io::Result<Vec<_>> = entries.collect();
    let mut names: Vec<String> = entries
        .map_err(|error| Error::in_file(&folder, format!("cannot be read: {error}")))?
        .into_iter()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".pem").map(ToOwned::to_owned))
        .filter(|name| name != "ca")
        .collect();
    names.sort_unstable();
    let host = host_name();
    let own = |name: &&String| **name == host || name.starts_with(&format!("{host}."));
    match (names.iter().find(own), names.as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Error::in_file(
            &folder,
            "holds no certificate of this host: run puppet agent -t and sign its request",
        )),
        (None, _) => Err(Error::in_file(
            &folder,
            format!(
                "holds certificates of several hosts ({}) and none of {host}: choose one with \
                 certname in puppet.conf, or name certificate and key themselves",
                names.join(", ")
            ),
        )),
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_lowercase()
}

/// Puppet's settings: section, name, value.
#[derive(Default)]
struct Settings {
    /// The folder of the settings file.
    confdir: PathBuf,
    entries: Vec<(String, String, String)>,
}

impl Settings {
    /// Those of this host.
    fn find() -> Result<Self, Error> {
        // A home that this user may not enter is of another user, so its agent is too.
        let home = home_dir().filter(|home| home.is_dir());
        let of_home = home.map(|home| home.join("puppet.conf"));
        Self::first_of(SETTINGS.iter().map(PathBuf::from).chain(of_home))
    }

    /// Reads the first file that exists; without one there are no settings.
    fn first_of(files: impl Iterator<Item = PathBuf>) -> Result<Self, Error> {
        for file in files {
            if let Some(text) = read_settings(&file)? {
                return Ok(Self::parse(&file, &text));
            }
        }
        Ok(Self::default())
    }

    fn parse(file: &Path, text: &str) -> Self {
        let mut section = "main".to_owned();
        let mut entries = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.trim().to_lowercase();
            } else if let Some((name, value)) = line.split_once('=') {
                // Braces after a value set the owner of the file.
                let value = value.split('{').next().unwrap_or_default().trim();
                let value = value.trim_matches(['"', '\'']);
                entries.push((section.clone(), name.trim().to_owned(), value.to_owned()));
            }
        }
        Self {
            confdir: file.parent().map(Into::into).unwrap_or_default(),
            entries,
        }
    }

    /// The value of a setting in the first section that has it.
    fn get(&self, name: &str) -> Option<&str> {
        SECTIONS.iter().find_map(|section| {
            let mut found = self.entries.iter().rev();
            let entry = found.find(|entry| entry.0 == *section && entry.1 == name)?;
            Some(&*entry.2)
        })
    }

    /// `ssldir`, which may refer to other settings. If several folders are possible, the one that
    /// exists.
    fn ssl_dir(&self) -> Option<PathBuf> {
        let value = self.get("ssldir")?;
        let confdir = self.confdir.display().to_string();
        let value = value.replace("$confdir", self.get("confdir").unwrap_or(&confdir));
        let var_dirs = match self.get("vardir") {
            Some(vardir) => vec![vardir],
            None => VAR_DIRS.to_vec(),
        };
        let mut candidates = var_dirs
            .into_iter()
            .map(|vardir| PathBuf::from(value.replace("$vardir", vardir)));
        let exists = |place: &PathBuf| place.join("certs").is_dir();
        candidates
            .clone()
            .find(exists)
            .or_else(|| candidates.next())
    }

    /// A file that the settings name.
    fn path(&self, name: &str, ssl_dir: &Path, certname: &str) -> Option<PathBuf> {
        let folder = ssl_dir.display().to_string();
        let value = self.get(name)?.replace("$certname", certname);
        let value = value
            .replace("$certdir", &format!("{folder}/certs"))
            .replace("$privatekeydir", &format!("{folder}/private_keys"))
            .replace("$ssldir", &folder);
        // A value that refers to further settings is ignored; the standard layout is used instead.
        (!value.contains('$')).then(|| value.into())
    }
}

/// The text of a settings file; `None` if there is none. Bytes that are not UTF-8 are in comments,
/// or in values that are of no concern here.
fn read_settings(file: &Path) -> Result<Option<String>, Error> {
    let fail = |why: String| {
        let text = format!(
            "{why}: correct it, or name certificate, key and CA themselves in place of Puppet's"
        );
        Error::in_file(file, text)
    };
    let unreadable = |error: io::Error| fail(format!("cannot be read by this user: {error}"));
    let settings = match fs::File::open(file) {
        Ok(settings) => settings,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    settings
        .take(SETTINGS_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 <= SETTINGS_LEN_MAX {
        true => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        false => Err(fail(format!("larger than {SETTINGS_LEN_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `ssldir` with empty files of these names.
    fn folder(certificates: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("certs")).unwrap();
        for name in certificates {
            fs::write(folder.path().join("certs").join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn an_agent_that_is_not_root_comes_last() {
        let folders = ssl_dirs(Some("/home/ops/.puppetlabs/etc/puppet".into()));
        let last = Path::new("/home/ops/.puppetlabs/etc/puppet/ssl");
        assert_eq!(folders.last().map(|folder| &**folder), Some(last));
        assert_eq!(folders.len(), SSL_DIRS.len() + 1);
    }

    #[test]
    fn the_agent_section_overrides_main() {
        let settings = Settings::parse(
            Path::new("/etc/puppet/puppet.conf"),
            "certname = a # why\n[main]\nssldir = $confdir/tls { owner = service }\n[agent]\n\
             certname = Node.Example.Org\n[server]\ncertname = c\n",
        );
        assert_eq!(settings.get("certname"), Some("Node.Example.Org"));
        assert_eq!(settings.ssl_dir(), Some("/etc/puppet/tls".into()));
        let ssl_dir = folder(&[]);
        let name = certname(&settings, ssl_dir.path()).unwrap();
        assert_eq!(name, "node.example.org");
    }

    #[test]
    fn files_named_in_the_settings_are_used() {
        let settings = Settings::parse(
            Path::new("puppet.conf"),
            "vardir = /v\nssldir = $vardir/ssl\nhostcert = $certdir/x-$certname.pem\n\
             hostcrl = $other/c",
        );
        assert_eq!(settings.ssl_dir(), Some("/v/ssl".into()));
        let path = |name| settings.path(name, Path::new("/s"), "n");
        assert_eq!(path("hostcert"), Some("/s/certs/x-n.pem".into()));
        assert_eq!(path("hostcrl"), None);
    }

    #[test]
    fn settings_that_cannot_be_read_are_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("latin1"), b"[main]\n# f\xfcr alle\ncertname = n\n").unwrap();
        fs::write(place("good"), "certname = other").unwrap();
        fs::write(place("large"), vec![b'\n'; 1 + (1 << 20)]).unwrap();
        fs::create_dir(place("folder")).unwrap();
        let first_of = |names: &[&str]| Settings::first_of(names.iter().map(|name| place(name)));
        let found = first_of(&["none", "latin1", "good"]).unwrap();
        assert_eq!(found.get("certname"), Some("n"));
        assert_eq!(first_of(&["none"]).unwrap().get("certname"), None);
        for (name, why) in [("folder", "cannot be read"), ("large", "larger than")] {
            let Err(error) = first_of(&[name, "good"]) else {
                panic!("{name} was passed over");
            };
            assert_eq!(error.file, Some(place(name)));
            assert!(error.text.starts_with(why), "{error}");
        }
    }

    #[test]
    fn without_certname_the_only_certificate_is_used() {
        let settings = Settings::default();
        let one = folder(&["ca.pem", "strange-node.pem"]);
        assert_eq!(certname(&settings, one.path()).unwrap(), "strange-node");
        let many = folder(&["ca.pem", "strange-a.pem", "strange-b.pem"]);
        let error = certname(&settings, many.path()).unwrap_err().to_string();
        assert!(error.contains("strange-a, strange-b"), "{error}");
        let none = folder(&["ca.pem"]);
        assert!(certname(&settings, none.path()).is_err());
    }
}
