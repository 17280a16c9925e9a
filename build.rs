//! Stamps the version's origin (git commit, build target) into the binaries.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    // A source archive has no repository: then the commit is left empty.
    let commit = Command::new("git")
        .args(["rev-parse", "--short=7", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    println!("cargo:rustc-env=MIDGE_GIT_COMMIT={}", commit.trim());
    println!(
        "cargo:rustc-env=MIDGE_TARGET={}",
        env::var("TARGET").unwrap_or_default()
    );
}
