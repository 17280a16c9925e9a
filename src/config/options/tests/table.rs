//! Properties of every row of every table.

use super::*;
use crate::config::options::table::Reload;

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
