//! Stamps the version's origin (git commit, build target) into the binaries.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The log of HEAD grows with each commit, in whatever branch.
    for path in ["HEAD", "logs/HEAD"] {
        // Only what exists: for a path that does not, cargo builds anew each time.
        let path = git(&["rev-parse", "--git-path", path]);
        if !path.is_empty() && Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=7", "HEAD"]);
    println!("cargo:rustc-env=MIDGE_GIT_COMMIT={commit}");
    println!(
        "cargo:rustc-env=MIDGE_TARGET={}",
        env::var("TARGET").unwrap_or_default()
    );
}

/// What git answers; nothing in a source archive, which has no repository.
fn git(args: &[&str]) -> String {
    Command::new("git")
        .args(args)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
