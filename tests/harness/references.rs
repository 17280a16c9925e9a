//! What comments and documents name exists: files, modules, and what is in modules. (Links
//! of the documentation are checked by rustdoc.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The project's folders, by which a path in a text is recognised.
const FOLDERS: [&str; 11] = [
    "benches",
    "check-nats",
    "collectd-plugin",
    "conf",
    "docs",
    "fuzz",
    "monitor-client",
    "src",
    "test-support",
    "tests",
    "top",
];

/// The page of other people's texts.
const OF_OTHERS: &str = "THIRD-PARTY.md";

/// Names that begin a path into other crates, or none.
const FOREIGN: [&str; 12] = [
    "Box", "Self", "core", "crate", "i64", "libc", "rustls", "self", "std", "super", "tokio",
    "usize",
];

/// Folders of crates, and the names of these.
const CRATES: [(&str, &str); 6] = [
    ("check_nats", "check-nats/src"),
    ("midge", "src"),
    ("midge_top", "top/src"),
    ("monitor_client", "monitor-client/src"),
    ("nats", "collectd-plugin/src"),
    ("test_support", "test-support/src"),
];

/// Keywords before the name of what they declare.
const DECLARING: [&str; 10] = [
    "const",
    "enum",
    "fn",
    "macro_rules",
    "mod",
    "static",
    "struct",
    "trait",
    "type",
    "mut",
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of the project by their paths, without what is built.
pub(super) fn texts() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(project().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a plain name");
            let path = match &*folder {
                "" => name.clone(),
                folder => format!("{folder}/{name}"),
            };
            let is_ours = !folder.is_empty() || FOLDERS.contains(&&*name);
            if entry.file_type().expect("a type").is_dir() {
                if is_ours && name != "target" {
                    waiting.push(path);
                }
            } else if name == OF_OTHERS {
                // Licences name files of the crates that they are from.
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                texts.insert(path, text);
            }
        }
    }
    texts
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn is_in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./".contains(c)
}

/// Paths into the project's folders, but for those with a placeholder.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_inclusive(|c| !is_in_path(c));
    words.filter_map(|word| {
        let end = word.chars().last().filter(|c| !is_in_path(*c));
        let path = word.strip_suffix(is_not_in_path).unwrap_or(word);
        let path = path.trim_end_matches(['.', '/', '-']);
        let (folder, rest) = path.split_once('/')?;
        let is_placeholder = |part: &str| {
            let stem = part.split('.').next().unwrap_or_default();
            stem.len() > 1 && stem.chars().all(|c| c.is_ascii_uppercase())
        };
        let is_pattern = end.is_some_and(|end| "*{<$".contains(end));
        let is_open = is_pattern || rest.split('/').any(is_placeholder);
        (FOLDERS.contains(&folder) && !is_open).then_some(path)
    })
}

fn is_not_in_path(c: char) -> bool {
    !is_in_path(c)
}

#[test]
fn files_that_are_named_exist() {
    let mut missing = Vec::new();
    for (file, text) in texts() {
        for path in paths(&text) {
            // From the project's folder, or from one that the file is in.
            let mut folders = Path::new(&file).ancestors().skip(1);
            if !folders.any(|folder| project().join(folder).join(path).exists()) {
                missing.push(format!("{file}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Files of `conf` that the README and the manuals name are on the hosts of those who read them.
#[test]
fn examples_that_are_named_are_installed() {
    /// What the Puppet module brings, and itself.
    const BY_PUPPET: [&str; 2] = ["conf/puppet", "conf/upstart"];
    let texts = texts();
    let makefile = &texts["Makefile"];
    let is_installed = |path: &str| {
        let pattern = path.rsplit_once('.').and_then(|(stem, end)| {
            let (folder, _) = stem.rsplit_once('/')?;
            Some(format!("{folder}/*.{end}"))
        });
        let is_manual = path.starts_with("conf/man") && makefile.contains("conf/man/$(1).$(2)");
        is_manual || makefile.contains(path) || pattern.is_some_and(|it| makefile.contains(&it))
    };
    let mut named = 0;
    let mut missing = Vec::new();
    for (file, text) in &texts {
        if file != "README.md" && !file.starts_with("docs/") {
            continue;
        }
        let examples = paths(text).filter(|path| path.starts_with("conf/"));
        for path in examples.filter(|path| !BY_PUPPET.iter().any(|of| path.starts_with(of))) {
            named += 1;
            if !is_installed(path) {
                missing.push(format!("{file}: {path}"));
            }
        }
    }
    assert!(named > 10, "only {named} are found");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The names in code, in their order.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty())
}

/// What a module's files declare, and what they offer of other modules.
#[derive(Default)]
struct Module {
    declared: BTreeSet<String>,
    words: BTreeSet<String>,
}

impl Module {
    fn add(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !is_comment(line));
        let code: String = lines.flat_map(|line| [line, "\n"]).collect();
        let mut before = "";
        for word in words(&code) {
            if DECLARING.contains(&before) {
                self.declared.insert(word.to_owned());
            }
            self.words.insert(word.to_owned());
            before = word;
        }
        for statement in code.split(';') {
            let offers = |line: &str| line.starts_with("pub") && line.contains(" use ");
            if statement.lines().any(offers) {
                self.declared.extend(words(statement).map(String::from));
            }
        }
    }
}

/// All modules by their paths, such as `src/client/active`.
fn modules(texts: &BTreeMap<String, String>) -> BTreeMap<String, Module> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for (file, text) in texts {
        let Some(path) = file.strip_suffix(".rs") else {
            continue;
        };
        let inner = ["/mod", "/lib", "/main"];
        let path = inner
            .iter()
            .find_map(|end| path.strip_suffix(end))
            .unwrap_or(path);
        modules.entry(path.to_owned()).or_default().add(text);
    }
    modules
}

/// Names such as `client::back_pressure` in backquotes.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|name| {
        let name = name.strip_suffix("()").unwrap_or(name);
        let mut parts = name.split("::");
        let is_word = |part: &str| words(part).next() == Some(part);
        name.contains("::") && parts.all(is_word)
    })
}

/// Whether a name leads from some module to something that is declared there, or from some
/// type to something that is named in a file with it.
fn exists(modules: &BTreeMap<String, Module>, name: &str) -> bool {
    let name = name.strip_suffix("()").unwrap_or(name);
    let (first, rest) = name.split_once("::").unwrap_or((name, ""));
    if first.starts_with(|c: char| c.is_ascii_uppercase()) {
        let has = |module: &Module, word: &str| module.words.contains(word);
        return modules
            .values()
            .any(|module| has(module, first) && words(rest).all(|word| has(module, word)));
    }
    let crate_folder = CRATES.iter().find(|(name, _)| *name == first);
    let begins = modules.keys().filter(|path| {
        let is_crate = crate_folder.is_some_and(|(_, folder)| folder == path);
        is_crate || path.rsplit('/').next() == Some(first)
    });
    begins.cloned().any(|mut path| {
        for word in words(rest) {
            let inner = format!("{path}/{word}");
            if !modules.contains_key(&inner) {
                return modules[&path].declared.contains(word);
            }
            path = inner;
        }
        true
    })
}

#[test]
fn modules_that_are_named_exist() {
    let texts = texts();
    let modules = modules(&texts);
    let mut missing = Vec::new();
    for (file, text) in &texts {
        let is_code = file.ends_with(".rs");
        // Puppet's classes are not Rust's modules.
        let is_text = file.ends_with(".md") && !file.starts_with("conf/puppet/");
        if !is_code && !is_text {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if is_code && !is_comment(line) {
                continue;
            }
            for name in names(line) {
                let first = name.split("::").next().unwrap_or_default();
                if !FOREIGN.contains(&first) && !exists(&modules, name) {
                    missing.push(format!("{file}:{}: {name}", index + 1));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(!exists(&modules, "client::nothing") && !exists(&modules, "nothing::client"));
}

/// The map of layers in ARCHITECTURE.md has every module of the broker, and names nothing
/// that a module does not have.
#[test]
fn the_map_of_layers_is_complete() {
    let texts = texts();
    let modules = modules(&texts);
    let rows = texts["ARCHITECTURE.md"].lines();
    let rows: Vec<Vec<&str>> = rows
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 6 && cells[1].parse::<u8>().is_ok())
        .collect();
    let mapped: BTreeSet<&str> = rows
        .iter()
        .flat_map(|cells| cells[2].split('`').skip(1).step_by(2))
        .collect();
    let top = &texts["src/lib.rs"];
    let declared: Vec<&str> = top
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|rest| rest.trim_end_matches(';'))
        .collect();
    assert!(declared.len() > 10, "{declared:?}");
    for module in declared {
        assert!(mapped.contains(module), "{module} is not on the map");
    }
    for cells in rows {
        let module = cells[2].trim_matches('`');
        let inside = format!("src/{module}");
        let parts: Vec<&Module> = modules
            .iter()
            .filter(|(path, _)| **path == inside || path.starts_with(&format!("{inside}/")))
            .map(|(_, part)| part)
            .collect();
        for name in cells[3].split('`').skip(1).step_by(2) {
            let is_plain = words(name).next() == Some(name);
            let is_there = parts.iter().any(|part| part.words.contains(name));
            assert!(
                !is_plain || parts.is_empty() || is_there,
                "{module}: {name}"
            );
        }
    }
}
