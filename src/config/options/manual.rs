//! The manual page `midge.conf(5)`, made from the tables of keys. The test here compares
//! the page in `conf/man`.

use std::fmt::Write as _;

use super::{
    keys,
    table::{ReloadKind, Row, Table, Usual},
};

const HEAD: &str = r#".\" Made from the tables of src/config/options: do not edit.
.TH MIDGE.CONF 5 "" midge "midge manual"
.SH NAME
midge.conf \- configuration of the message broker midge
.SH DESCRIPTION
.B midge \-c
.I FILE
reads its settings from a file in the language of nats\-server:
.PP
.nf
key: value              # or key = value, or key value
block { key: value }
list: [ "a", "b" ]
include "other.conf"
.fi
.PP
A comment begins with # or //. Sizes are whole numbers, with KB, MB or GB for powers of 1024 and
k, m or g for powers of 1000. Durations stand in quotes and have a unit: "500ms", "10s", "2m",
"1h30m". $NAME stands for the value of an earlier key, or of an environment variable. Keys match
in any letter case; of a key that is written twice the later one counts.
.PP
Flags of the command line override the file.
.B midge \-t \-c
.I FILE
tests it. An error begins with
.IR FILE:LINE:COLUMN ,
with the key and what to do.
.SS Reload
SIGHUP, or
.BR "midge \-\-signal reload" ,
has the file read again. If anything in it is wrong, nothing changes. Otherwise every setting that
can change while the broker runs does, and the log names each, with the new value. What needs a
restart is named, and why. Below, a key says "Reload: live" or "Reload: restart"; a key without
such a word is taken over with the block that it stands in.
"#;

const TAIL: &str = r#".SH FILES
.TP
.I /etc/midge/midge.conf
The configuration of the service, as the package installs it: every key at the top with its default.
.TP
.I /usr/share/doc/midge/examples/cluster.conf
An example of a member of a cluster.
.SH SEE ALSO
.BR midge (8),
.BR midge\-top (1),
.BR check_nats (1),
.BR collectd\-nats (5)
"#;

fn page() -> String {
    let mut page = HEAD.to_owned();
    page += ".SH KEYS\n";
    for table in keys::tables() {
        write_table(&mut page, &table);
    }
    page += TAIL;
    page
}

fn write_table(page: &mut String, table: &Table) {
    let _ = writeln!(page, ".SS {}", escape(table.title));
    let mut section = "";
    for row in &table.rows {
        if row.section != section {
            section = row.section;
            let _ = writeln!(page, ".PP\n.I {}", escape(section));
        }
        write_row(page, row);
    }
}

fn write_row(page: &mut String, row: &Row) {
    let names: Vec<String> = row.names.iter().map(|name| escape(name)).collect();
    let _ = writeln!(page, ".TP\n.BR {}", names.join(" \", \" "));
    if !row.is_served {
        let _ = writeln!(page, "{}", escape(&unserved_text(row)));
        return;
    }
    let usual = match row.usual {
        Usual::Default(value) => format!("Default: {value}."),
        Usual::Example(value) => format!("No default; example: {value}"),
    };
    let reload = match row.reload {
        Some(ReloadKind::Live) => "\n.br\nReload: live.".to_owned(),
        Some(ReloadKind::Restart(why)) => format!("\n.br\nReload: restart; {}.", escape(why)),
        None => String::new(),
    };
    let (doc, form) = (escape(row.doc), escape(row.form));
    let _ = writeln!(
        page,
        "{doc}\n.br\nValue: {form}. {}{reload}",
        escape(&usual)
    );
}

/// The text for a key that is not served.
fn unserved_text(row: &Row) -> String {
    match row.form {
        "" => format!("A key of nats-server that is refused: it {}.", row.doc),
        _ => format!(
            "A key of nats-server that is accepted and has no effect: {}.",
            row.doc
        ),
    }
}

/// Plain text for troff.
pub(in crate::config) fn escape(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\u{2026}', "...");
    // A line that begins with one of these would be a request.
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[test]
fn the_manual_page_is_up_to_date() {
    test_support::generated::assert_up_to_date("conf/man/midge.conf.5", &page());
}

/// The page contains each served key of each block with all its names.
#[test]
fn the_page_has_every_key() {
    let page = page();
    for table in keys::tables() {
        for name in table.rows.iter().flat_map(|row| &row.names) {
            assert!(page.contains(&escape(name)), "{} {name}", table.name);
        }
    }
}
