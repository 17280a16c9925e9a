//! Properties of every row of every table.

use super::*;
use crate::config::options::{
    table::{Described, Reload},
    tls::TLS_BLOCK,
};

/// Each row describes what its key sets, in sentences, and its value in the example file.
#[test]
fn every_row_is_described() {
    for Table {
        name: block, rows, ..
    } in tables()
    {
        for row in &rows {
            let name = row.names[0];
            assert!(!row.doc.is_empty(), "{block} {name} says nothing");
            assert!(!row.form.is_empty() || !row.is_served, "{block} {name}");
            if !row.is_served {
                continue;
            }
            assert!(row.doc.ends_with('.'), "{block} {name}: {}", row.doc);
            assert!(!row.doc.contains("  "), "{block} {name}: {}", row.doc);
        }
    }
}

/// A key that sets what another key sets names that one.
#[test]
fn keys_that_are_as_others_name_these() {
    for key in TOP.keys() {
        if let Reload::As(name) = key.reload {
            assert!(TOP.find(name).is_some(), "{}", key.name);
        }
    }
}

/// The names of the keys that lead to each block `tls`.
fn paths_to_tls(table: &Table, before: &str, found: &mut Vec<String>) {
    for row in &table.rows {
        let path = format!("{before} {}", row.names[0]);
        for inner in &row.blocks {
            match inner.name == TLS_BLOCK.name {
                true => found.push(path.trim().to_owned()),
                false => paths_to_tls(inner, &path, found),
            }
        }
    }
}

/// What a test of the configuration opens is every block `tls` that the tables have.
#[test]
fn every_tls_block_is_in_the_list_of_them() {
    let mut expected = Vec::new();
    paths_to_tls(&TOP.table(), "", &mut expected);
    expected.sort();
    let mut options = options(
        "tls {}\ncluster { port: 1, tls {} }\nwebsocket { port: 2, tls {} }\nfederation { name: f, \
         upstream: \"tls://h:3\", tls {} }\nleafnodes { port: 4, tls {}, remotes: [ { url: \
         \"tls://h:5\", tls {} } ] }\n",
    );
    let listed = options.tls_blocks();
    let mut listed: Vec<&str> = listed.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}
