//! Makes what the `nats` command prints comparable: times, ids, addresses and the drawing of
//! tables are replaced or left out, and so are figures that say something about the program and
//! not about what it was asked.

use serde_json::Value;

/// What one command printed.
pub struct Output {
    /// Its exit code; -1 if it was killed.
    pub code: i32,
    /// The comparable lines.
    pub lines: Vec<String>,
    /// What it printed.
    pub raw: String,
}

/// A text that is another one on each side, and what stands for it.
pub type Replaced = (String, String);

/// Name of the connection of the command itself. What it shows of itself depends on when it asks.
pub const OWN_NAME: &str = "own";

/// Account of the one who asks for reports.
const OWN_ACCOUNT: &str = "SYS";

/// Columns whose values are not compared: the table, or none for all of them, the column, and the
/// reason.
const COLUMNS: &[(&str, &str, &str)] = &[
    (
        "",
        "CID",
        "nats-server's internal clients have numbers, too",
    ),
    ("", "ID", "the same for routes"),
    ("", "IP", "a port of the client's"),
    ("", "Address", "a port of the route's"),
    ("", "Mem", "another program"),
    ("", "CPU %", "another program"),
    ("", "Uptime", "a time"),
    ("", "RTT", "a time"),
    ("", "Average Latency", "a time"),
    ("", "Average Time", "a time"),
    ("", "Processing Time", "a time"),
    ("Server Overview", "Subs", OWN_SERVICES),
    ("Cluster Report", "Subs", OWN_SERVICES),
    ("Cluster Report", "Bytes In", OWN_MESSAGES),
    ("Cluster Report", "Bytes Out", OWN_MESSAGES),
    (STATISTICS, "Subscriptions", OWN_SERVICES),
    (STATISTICS, "Sent Bytes", OWN_MESSAGES),
    (STATISTICS, "Sent Messages", OWN_MESSAGES),
    (STATISTICS, "Received Bytes", OWN_MESSAGES),
    (STATISTICS, "Received Messages", OWN_MESSAGES),
];

/// The table whose sums are in other columns than what they are sums of: they are left out.
const STATISTICS: &str = "Server Statistics";

const OWN_SERVICES: &str = "nats-server's own services are subscriptions";
const OWN_MESSAGES: &str = "the messages of each one's own services are in it";

/// Beginnings of lines whose rest is not compared.
const LINES: &[(&str, &str)] = &[
    ("Git Commit:", "another program"),
    ("Go Version:", "another program"),
    ("Configuration Digest:", "the files differ in their ports"),
    ("CPU Cores:", "the load is in the same line"),
    ("Memory:", "another program"),
    ("Load:", "another program"),
    (
        "Client ID:",
        "nats-server's internal clients have numbers, too",
    ),
    ("RTT:", "a time"),
    ("Uptime:", "a time"),
    ("Updated:", "a time"),
    ("Started:", "a time"),
    ("Start Time:", "a time"),
    ("Configuration Load Time:", "a time"),
    ("NATS Core NATS", "a speed"),
    ("In:", "counted while the command asks"),
    ("Out:", "counted while the command asks"),
    ("Messages:", "counted while the command asks"),
    ("Bytes:", "counted while the command asks"),
    ("URLs:", "in any order"),
    ("Subscriptions:", OWN_SERVICES),
    ("CLOCK Handler:", "a number that the service counts up"),
    ("Server \"srv0\" profile written:", "a time"),
];

/// Beginnings of lines that are left out.
const LEFT_OUT: &[(&str, &str)] = &[(
    "CLOCK >>> Unexpected NATS error:",
    "printed by a thread that the end of the command may overtake",
)];

/// `name=value` of which the value is not compared.
const VALUES: &[(&str, &str)] = &[
    ("uptime", "a time"),
    ("cpu", "another program"),
    ("mem", "another program"),
    ("rtt", "a time"),
    ("connect_time", "a time"),
    ("request_time", "a time"),
    ("time", "a time"),
    (
        "subscriptions",
        "nats-server counts those of its own services",
    ),
];

/// Fields of JSON that only one of the two has, or that differ by their nature.
const FIELDS: &[(&str, &str)] = &[
    ("config_digest", "the files differ in their ports"),
    ("did_solicit", "which of two members dials first is chance"),
    ("dropped_bytes", "midge counts loss"),
    ("dropped_msgs", "midge counts loss"),
    ("feature_flags", "switches of JetStream"),
    ("git_commit", "another program"),
    ("go", "another program"),
    ("logins", "midge counts logins"),
    ("midge", "midge's own version"),
    ("no_interest_msgs", "midge counts what reached nobody"),
    ("permission_violations", "midge counts violations"),
    (
        "responses",
        "services of the system account are no imports here",
    ),
    ("written_bytes", "midge counts what it wrote"),
    ("written_msgs", "midge counts what it wrote"),
];

impl Output {
    /// Of a command that ended with this code.
    pub fn new(code: i32, raw: String, names: &[Replaced]) -> Self {
        let mut lines = Vec::new();
        let mut table = Table::default();
        for part in Part::all(&raw) {
            match part {
                Part::Json(value) => flatten("", &value, names, &mut lines),
                Part::Line(line) => lines.extend(table.line(&renamed(line, names))),
            }
        }
        lines.retain(|line| !LEFT_OUT.iter().any(|(start, _)| line.starts_with(start)));
        Self { code, lines, raw }
    }
}

fn renamed(text: &str, names: &[Replaced]) -> String {
    let mut text = text.to_owned();
    for (name, other) in names {
        text = text.replace(name, other);
    }
    text
}

/// A piece of output.
enum Part<'a> {
    Json(Value),
    Line(&'a str),
}

impl<'a> Part<'a> {
    /// JSON may be in one line or in many.
    fn all(text: &'a str) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if rest.starts_with(['{', '[']) {
                let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                if let Some(Ok(value)) = values.next()
                    && !value.is_number()
                {
                    rest = &rest[values.byte_offset()..];
                    parts.push(Part::Json(value));
                    continue;
                }
            }
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            parts.push(Part::Line(line));
            rest = after;
        }
        parts
    }
}

/// A table that is being read.
#[derive(Default)]
struct Table {
    title: String,
    /// The columns, once they were named.
    header: Vec<String>,
}

impl Table {
    /// The comparable form of a line, unless there is nothing to compare.
    fn line(&mut self, line: &str) -> Option<String> {
        let trimmed = line.trim();
        if trimmed.starts_with('╭') {
            *self = Self::default();
        }
        if trimmed.is_empty() || trimmed.starts_with(['╭', '├', '╰']) {
            return None;
        }
        let Some(row) = trimmed.strip_prefix('│') else {
            let indent = line.len() - line.trim_start().len();
            return plain(trimmed).map(|text| format!("{}{text}", " ".repeat(indent)));
        };
        let cells: Vec<&str> = row
            .trim_end_matches('│')
            .split('│')
            .map(str::trim)
            .collect();
        if let [title] = cells[..] {
            self.title = title.to_owned();
            return Some(words(title));
        }
        if self.header.is_empty() {
            self.header = cells.iter().map(|cell| (*cell).to_owned()).collect();
            return Some(cells.join(" | "));
        }
        let is_own = |cell: &&str| *cell == OWN_NAME || *cell == OWN_ACCOUNT;
        // Sums have the own connection in them.
        let is_sum = |cell: &&str| {
            cell.starts_with("Totals for") || self.title == STATISTICS && cell.len() == 1
        };
        if cells.iter().any(is_own) || cells.iter().take(2).any(is_sum) {
            return None;
        }
        let shown = cells.iter().enumerate().map(|(at, cell)| {
            let header = self.header.get(at).map_or("", String::as_str);
            let is_masked = COLUMNS.iter().any(|(title, name, _)| {
                *name == header && (title.is_empty() || *title == self.title)
            });
            match is_masked && !cell.is_empty() {
                true => "*".to_owned(),
                false => words(cell),
            }
        });
        Some(shown.collect::<Vec<_>>().join(" | "))
    }
}

/// A line that is no row of a table.
fn plain(line: &str) -> Option<String> {
    let line = words(line);
    if let Some((start, _)) = LINES.iter().find(|(start, _)| line.starts_with(start)) {
        return Some(format!("{start} *"));
    }
    let mut parts: Vec<&str> = line.split(' ').collect();
    match parts[..] {
        // A client of `nats top`; that of the command itself is left out.
        ["127.0.0.1:*", _, OWN_NAME, ..] => return None,
        ["127.0.0.1:*", _, _, ..] => parts[1] = "*",
        // Times of `nats server ping`.
        [_, "replies", "max:", ..] => parts.truncate(3),
        // A bar, and the figure that it shows.
        [_, bar, ..] if bar.starts_with(['█', '▏']) => parts.truncate(1),
        _ => {}
    }
    Some(parts.join(" "))
}

/// The words with one blank between them, each in its comparable form.
fn words(text: &str) -> String {
    let words = text.split_whitespace().map(word);
    words.collect::<Vec<_>>().join(" ")
}

/// A word as it is compared: what surrounds it stays.
fn word(word: &str) -> String {
    let is_around = |symbol: char| "()[],\"'".contains(symbol);
    let start = word.len() - word.trim_start_matches(is_around).len();
    let core = word.trim_matches(is_around);
    let (before, after) = (&word[..start], &word[start + core.len()..]);
    format!("{before}{}{after}", comparable(core))
}

fn comparable(word: &str) -> String {
    if let Some((name, value)) = word.split_once('=')
        && VALUES.iter().any(|(known, _)| *known == name)
    {
        // What follows are the thresholds.
        let rest = value.split_once(';').map(|(_, rest)| format!(";{rest}"));
        return format!("{name}=*{}", rest.unwrap_or_default());
    }
    if let Some(number) = word.strip_prefix("cid:").or(word.strip_prefix("rid:"))
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("{}:*", &word[..3]);
    }
    if let Some(port) = word.strip_prefix("127.0.0.1:")
        && port.parse::<u16>().is_ok()
    {
        return "127.0.0.1:*".into();
    }
    if let Some(at) = word.find("_INBOX.") {
        return format!("{}_INBOX.*", &word[..at]);
    }
    if is_duration(word) {
        return "TIME".into();
    }
    let (time, _fraction) = word.split_once('.').unwrap_or((word, ""));
    if is_digits_with(time, ':', &[2, 2, 2]) {
        return "CLOCK".into();
    }
    if is_digits_with(word, '-', &[4, 2, 2]) {
        return "DATE".into();
    }
    if word.len() >= 20 && word.as_bytes()[10] == b'T' && word.ends_with('Z') {
        return "MOMENT".into();
    }
    // Ids of services, events and the like.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric();
    if word.len() == 22 && word.bytes().all(is_id) {
        return "ID".into();
    }
    word.to_owned()
}

/// Whether this is a duration as Go writes it, such as 1m2.5s.
fn is_duration(word: &str) -> bool {
    const UNITS: &[&str] = &["ns", "µs", "us", "ms", "s", "m", "h", "d"];
    let mut rest = word;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits =
            rest.trim_start_matches(|symbol: char| symbol.is_ascii_digit() || symbol == '.');
        if digits.len() == rest.len() {
            return false;
        }
        let unit = UNITS
            .iter()
            .filter(|unit| digits.starts_with(**unit))
            .max_by_key(|unit| unit.len());
        let Some(unit) = unit else {
            return false;
        };
        rest = &digits[unit.len()..];
        parts += 1;
    }
    parts > 0
}

/// Whether this is numbers of so many digits, with `between` between them.
fn is_digits_with(word: &str, between: char, lens: &[usize]) -> bool {
    let parts: Vec<&str> = word.split(between).collect();
    let is_number = |(part, len): (&&str, &usize)| {
        part.len() == *len && part.bytes().all(|b| b.is_ascii_digit())
    };
    parts.len() == lens.len() && parts.iter().zip(lens).all(is_number)
}

/// The fields as lines. Numbers are not compared: `tests/mesh` does that for each answer.
fn flatten(path: &str, value: &Value, names: &[Replaced], lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            for (name, value) in fields.filter(|(name, _)| !is_one_sided(name)) {
                flatten(&format!("{path}.{name}"), value, names, lines);
            }
        }
        Value::Array(values) => {
            for value in values {
                flatten(&format!("{path}[]"), value, names, lines);
            }
        }
        Value::Number(_) => lines.push(format!("{path}: #")),
        Value::String(text) => {
            lines.push(format!("{path}: {}", words(&renamed(text, names))));
        }
        Value::Bool(_) | Value::Null => lines.push(format!("{path}: {value}")),
    }
}

fn is_one_sided(name: &str) -> bool {
    FIELDS.iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ids_are_replaced_and_nothing_else() {
        for (text, expected) in [
            ("2.5ms", "TIME"),
            ("(11.33s", "(TIME"),
            ("1h2m3s", "TIME"),
            ("30d", "TIME"),
            ("18:20:01", "CLOCK"),
            ("18:20:01.123456", "CLOCK"),
            ("2026-11-30", "DATE"),
            ("2026-11-30T18:20:01.5Z", "MOMENT"),
            ("cid:17", "cid:*"),
            ("127.0.0.1:4222", "127.0.0.1:*"),
            ("\"_INBOX.abc.def\"", "\"_INBOX.*\""),
            ("AfjWSyfxUS8G9HaTF5St6H", "ID"),
            ("uptime=1.5s;1;2", "uptime=*;1;2"),
            ("connections=6;10;20", "connections=6;10;20"),
            ("2.15.1", "2.15.1"),
            ("6", "6"),
            ("ms", "ms"),
            ("orders", "orders"),
            ("srv0:", "srv0:"),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn tables_are_read_by_their_columns() {
        let text = "╭───╮\n│ Title │\n├──┬──┤\n│ Name │ CID │ Subs │\n├──┼──┤\n\
                    │ a │ 7 │ 1 │\n│ own │ 8 │ 1 │\n│ │ Totals for 2 │ 2 │\n╰──╯\n";
        let output = Output::new(0, text.into(), &[]);
        assert_eq!(output.lines, ["Title", "Name | CID | Subs", "a | * | 1"]);
    }

    #[test]
    fn json_becomes_fields() {
        let text = "{\"b\":[{\"c\":\"x\"}],\"a\":5,\"midge\":\"1\"}\n[true,\n null]\n[1s] x\n";
        let output = Output::new(0, text.into(), &[]);
        assert_eq!(
            output.lines,
            [".a: #", ".b[].c: x", "[]: true", "[]: null", "[TIME] x"]
        );
    }
}
