//! Files of the project that are made from tables: manual pages, documentation, the example
//! configuration. The test of each makes it again and compares.
//!
//! `UPDATE_GENERATED=1 cargo test --workspace up_to_date` writes all of them anew.

use std::{env, fs, path::Path};

/// Asserts that a file, named from the project's folder, has this text. With
/// `UPDATE_GENERATED` in the environment it is written first. The name of the calling test
/// ends in `up_to_date`, so that one command finds all of them.
#[track_caller]
pub fn assert_up_to_date(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{file} is not what its table says: UPDATE_GENERATED=1 cargo test --workspace up_to_date"
    );
}
