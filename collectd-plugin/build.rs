//! Generates declarations of collectd's plugin interface from its own headers, so that names, sizes
//! and layouts match the installed collectd.
//!
//! Needs the headers (Debian: collectd-dev) and libclang with its own headers (Debian: libclang1-14
//! and libclang-common-14-dev, or libclang-dev).

use std::{env, panic, path::Path, process};

/// Some headers include others relative to this folder.
const HEADERS: &str = "/usr/include/collectd";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if !Path::new(HEADERS).join("core/daemon/plugin.h").exists() {
        fail(&format!(
            "collectd's headers are missing: no {HEADERS}/core/daemon/plugin.h: install the Debian \
             package collectd-dev"
        ));
    }
    // bindgen panics if it finds no libclang, and has said so then.
    let bindings = panic::catch_unwind(generate).unwrap_or_else(|_| {
        fail(
            "bindgen failed: if it found no libclang, install the Debian packages libclang1-14 and \
             libclang-common-14-dev, or libclang-dev",
        )
    });
    let bindings = bindings.unwrap_or_else(|error| {
        fail(&format!(
            "collectd's headers do not parse: {error}: are the Debian packages collectd-dev and \
             libclang-common-14-dev (or libclang-dev) installed?"
        ))
    });
    let out = env::var("OUT_DIR").unwrap_or_else(|_| fail("OUT_DIR is not set: run cargo"));
    if let Err(error) = bindings.write_to_file(Path::new(&out).join("collectd.rs")) {
        fail(&format!("{out}/collectd.rs: {error}"));
    }
}

fn generate() -> Result<bindgen::Bindings, bindgen::BindgenError> {
    bindgen::Builder::default()
        .header_contents("collectd.h", "#include <collectd/core/daemon/plugin.h>")
        .clang_arg(format!("-I{HEADERS}"))
        // The lengths of names depend on the configuration that collectd was built with.
        .clang_arg("-DHAVE_CONFIG_H=1")
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .allowlist_function("plugin_register_(complex_config|complex_read|init)")
        .allowlist_function("plugin_dispatch_(values|notification)")
        .allowlist_function("plugin_notification_meta_(add_string|free)")
        .allowlist_function("plugin_(log|get_interval)")
        .allowlist_type("value_list_t|notification_t|user_data_t|oconfig_item_t")
        .allowlist_var("OCONFIG_TYPE_.*|LOG_(ERR|WARNING|NOTICE|INFO)|NOTIF_.*|hostname_g")
        .generate()
}

fn fail(reason: &str) -> ! {
    eprintln!("{reason}");
    process::exit(1);
}
