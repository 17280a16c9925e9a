//! The page `docs/configuration.md`, generated from the tables of keys and the lists of
//! differences.

use std::fmt::Write as _;

use midge::config::options::{
    keys::tables,
    table::{ReloadKind, Row, Usual},
};

use super::{
    differences::{DIFFERENCES, Difference},
    different::DIFFERENT,
    fixture::names,
    keys::own_names,
};

fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>();
    words.join(" ").replace('|', "\\|")
}

fn code(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("`{}`", text.replace('\n', " ⏎ ").replace('|', "\\|")))
        .collect();
    quoted.join(", ")
}

fn write_row(page: &mut String, row: &Row) {
    let names = code(&row.names);
    if !row.is_served {
        let doc = one_line(row.doc);
        let reported = match row.form {
            "" => format!("Refused: it {doc}."),
            _ => format!("Accepted without effect: {doc}."),
        };
        let _ = writeln!(page, "| {names} | | | {reported} | |");
        return;
    }
    let usual = match row.usual {
        Usual::Default(value) => code(&[value]),
        Usual::Example(_) => String::new(),
    };
    let reload = match row.reload {
        Some(ReloadKind::Live) => "live".to_owned(),
        Some(ReloadKind::Restart(why)) => format!("restart: {why}"),
        None => String::new(),
    };
    let (form, doc) = (one_line(row.form), one_line(row.doc));
    let _ = writeln!(page, "| {names} | {form} | {usual} | {doc} | {reload} |");
}

fn page() -> String {
    let names = names();
    let mut page = String::from(BEGINNING);
    for table in tables() {
        let title = table.title;
        let _ = write!(page, "\n### {title}\n\n{HEADINGS}");
        for row in &table.rows {
            write_row(&mut page, row);
        }
        let own = own_names(&names, table.name);
        // nats-server has none of these blocks.
        if !own.is_empty() && own.len() < table.rows.len() {
            let _ = writeln!(page, "\nnats-server does not have {}.", code(&own));
        }
    }
    page += MIDDLE;
    for Difference {
        block,
        keys,
        forms,
        midge_accepts,
        reason,
    } in DIFFERENCES
    {
        let who = if *midge_accepts {
            "midge"
        } else {
            "nats-server"
        };
        let values = match forms {
            ["*"] => "some".to_owned(),
            forms => code(forms),
        };
        let _ = writeln!(
            page,
            "| {block}: {} | {values} | {who} | {reason} |",
            code(keys)
        );
    }
    page += END;
    for difference in DIFFERENT {
        let who = if difference.midge_accepts {
            "midge"
        } else {
            "nats-server"
        };
        let text = match difference.text {
            "" => "(an empty file)".to_owned(),
            text => code(&[text.trim_start_matches('\u{feff}')]),
        };
        let _ = writeln!(page, "| {text} | {who} | {} |", difference.reason);
    }
    page
}

#[test]
fn the_keys_in_the_docs_are_up_to_date() {
    test_support::generated::assert_up_to_date("docs/configuration.md", &page());
}

const BEGINNING: &str = "\
# Configuration files

midge reads the files of nats-server. This page has every key that midge knows, block by block,
and the values that nats-server judges differently. The same tables are the manual page
midge.conf(5); `conf/midge.conf` shows the keys at the top with their defaults, `conf/cluster.conf`
those of a cluster.

A key of nats-server is

- served,
- or accepted without effect, with a warning, if the broker can work without it,
- or refused, if the broker would be unsafe or would not do what the file asks for. An empty value
  (`gateway {}`, `operator: []`, `proxy_protocol: false`) asks for nothing and is not an error.

Keys match in any letter case. Of a key that is written twice the later one counts. A key that is
not known is an error, unless its value is used as a variable. To test a file, type
`midge -t -c FILE`. A file that only has warnings is valid.

A reload (SIGHUP, `midge --signal reload`) reads the file again. If anything in it is wrong, nothing
changes. Otherwise every **live** key takes effect at once, also for connected clients and routes,
and the log shows its new value. The log names each changed key that needs a **restart**, with the
reason; the other keys are applied. Where the column is empty, the key is applied together with its
block.

## Keys
";

const HEADINGS: &str = "| key | value | default | what it does | reload |\n|---|---|---|---|---|\n";

const MIDDLE: &str = "
## Values that nats-server judges differently

A test gives each key values of every kind (numbers, texts, durations, booleans, lists, blocks, dates) and
gives both brokers the same file. Both accept it or both refuse it, except for these.

| key | value | accepted by | why |
|---|---|---|---|
";

const END: &str = "
## Texts that nats-server judges differently

| text | accepted by | why |
|---|---|---|
";
