//! `THIRD-PARTY.md`: the crates that the programs are linked with, and their licences. It is made
//! from what cargo knows, and goes into every package.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;
use test_support::{generated::assert_up_to_date, tools::project};

/// The packages whose programs and libraries are shipped; they depend on all other crates.
const SHIPPED: [&str; 2] = ["midge", "collectd-plugin"];

/// A licence that is offered with others is chosen if it is the project's own.
const OWN: &str = "Apache-2.0";

const HEAD: &str = "\
<!-- Made from Cargo.lock and the crates' own files by tests/harness/third_party.rs: do not edit. -->
# Third-party software

midge's programs and its collectd plugin contain the Rust standard library (MIT or Apache-2.0) and
the crates that are listed here. Where a crate may be used under one of several licences and one of
them is the Apache License 2.0, it is used under that one.
";

#[test]
fn the_licences_of_linked_crates_are_up_to_date() {
    let crates = linked_crates();
    let mut page = HEAD.to_owned();
    page += "\n## Under the Apache License 2.0\n\nIts text is in `LICENSE`.\n\n";
    let (own, others): (Vec<_>, Vec<_>) = crates.iter().partition(|it| it.offers_own());
    for it in own {
        let _ = writeln!(page, "- {} {}", it.name, it.version);
    }
    page += "\n## Under other licences\n";
    let mut by_text: BTreeMap<String, Vec<&Crate>> = BTreeMap::new();
    for it in others {
        by_text.entry(it.texts()).or_default().push(it);
    }
    let mut groups: Vec<_> = by_text.into_iter().collect();
    groups.sort_by_key(|(_, crates)| crates[0].name.clone());
    for (text, crates) in groups {
        page.push('\n');
        for it in &crates {
            let _ = writeln!(page, "- {} {}: {}", it.name, it.version, it.expression);
        }
        let _ = write!(page, "\n```\n{text}\n```\n");
    }
    assert_up_to_date("THIRD-PARTY.md", &page);
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    expression: String,
    manifest: String,
}

impl Crate {
    /// Whether the project's own licence is enough.
    fn offers_own(&self) -> bool {
        let expression = self.expression.replace('/', " OR ");
        let mut parts = expression.split(" AND ");
        parts.all(|part| {
            let part = part.trim_matches(['(', ')']);
            part.split(" OR ").any(|licence| licence == OWN)
        })
    }

    /// The texts of its licences and notices, other than that of the project's own licence.
    fn texts(&self) -> String {
        let folder = Path::new(&self.manifest).parent().expect("a folder");
        let entries = fs::read_dir(folder).expect("the sources of a crate");
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                let name = name.to_lowercase();
                let begins = ["license", "licence", "copying", "notice", "copyright"];
                begins.iter().any(|begin| name.starts_with(begin)) && !name.contains("apache")
            })
            .collect();
        names.sort_unstable();
        let texts: Vec<String> = names
            .iter()
            .map(|name| fs::read_to_string(folder.join(name)).expect("text"))
            .map(|text| {
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                lines.join("\n").trim().to_owned()
            })
            .collect();
        assert!(
            !texts.is_empty(),
            "{} {} is under {} and has no text of it in {}",
            self.name,
            self.version,
            self.expression,
            folder.display()
        );
        texts.join("\n\n")
    }
}

/// All crates of others that end up in a shipped file: not those of tests, build scripts and
/// macros.
fn linked_crates() -> BTreeSet<Crate> {
    let metadata = metadata();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|it| (text(&it["id"]), it))
        .collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|it| (text(&it["id"]), it))
        .collect();
    let is_macro = |package: &Value| {
        let targets = list(&package["targets"]);
        targets.iter().any(|it| it["kind"][0] == "proc-macro")
    };
    let is_shipped = |package: &&Value| SHIPPED.contains(&&*text(&package["name"]));
    let roots = packages.values().filter(is_shipped);
    let mut waiting: Vec<String> = roots.map(|it| text(&it["id"])).collect();
    assert_eq!(waiting.len(), SHIPPED.len());
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if is_macro(&packages[&id]) || !seen.insert(id.clone()) {
            continue;
        }
        for dependency in list(&nodes[&id]["deps"]) {
            let kinds = list(&dependency["dep_kinds"]);
            if kinds.iter().any(|it| it["kind"].is_null()) {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    let linked = seen.iter().map(|id| &packages[id]);
    let of_others = linked.filter(|it| !it["source"].is_null());
    of_others
        .map(|it| Crate {
            name: text(&it["name"]),
            version: text(&it["version"]),
            expression: text(&it["license"]),
            manifest: text(&it["manifest_path"]),
        })
        .collect()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .current_dir(project())
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .expect("run cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
