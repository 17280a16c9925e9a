//! From files to options: every key, every refusal, every contradiction; and the
//! differences that a reload reports.

mod blocks;
mod keys;
mod refused;
mod reload;
mod remotes;
mod table;
mod warnings;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    keys::{TOP, tables},
    table::{Key, Kind, Table},
    *,
};
use crate::security::{
    secret::Secret,
    sources::Network,
    users::{ConnectionType, SoleLogin},
};

/// The result of a file with this text: options and warnings, or errors. The name
/// of the file is cut from all messages.
fn read(text: &str) -> Result<(Options, Vec<String>), Vec<String>> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("test.conf");
    fs::write(&path, text).expect("it can be written");
    let prefix = format!("{}:", path.display());
    let texts = |all: Vec<Diagnostic>| -> Vec<String> {
        let texts = all.iter().map(ToString::to_string);
        texts.map(|text| text.replace(&prefix, "")).collect()
    };
    match load(&path, &|_| None) {
        Ok((options, warnings)) => Ok((options, texts(warnings))),
        Err(errors) => Err(texts(errors.0)),
    }
}

/// The options of a text that gives no warnings.
#[track_caller]
fn options(text: &str) -> Options {
    let (options, warnings) = read(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert!(warnings.is_empty(), "{text}: {warnings:?}");
    options
}

#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    read(text)
        .unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
        .1
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let errors = read(text).map(|_| ()).expect_err(text);
    assert!(
        errors.iter().any(|error| error.contains(expected)),
        "{text}: {errors:?}"
    );
}

/// The keys of the top that are served.
fn served() -> impl Iterator<Item = &'static Key<Options>> {
    TOP.keys().filter(|key| key.is_served())
}

/// Options as a file without settings gives them, without the file itself.
fn file_defaults() -> Options {
    Options {
        host: ANY_HOST.into(),
        host_is_safe_default: false,
        ..Options::default()
    }
}

fn without_file(options: Options) -> Options {
    Options {
        config_file: None,
        config_digest: String::new(),
        ..options
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
