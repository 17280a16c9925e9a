//! The transport message of Choria and MCollective: the JSON around what the sender has signed.
//!
//! Only the members of `headers` are changed. Everything else stays as it came, byte for byte:
//! the signed part, members that are not known here, and how numbers are written. [`super::rewrite`]
//! is the one caller, and [`super::filter`] looks into the signed part.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Members of one object that are looked at: `headers` and `federation` have few.
const MEMBERS_MAX: usize = 64;

/// The names that one version of the protocol uses.
#[derive(Debug, Eq, PartialEq)]
pub struct Names {
    /// In `headers`: where the answer goes.
    pub reply_to: &'static str,
    /// In `headers`: who has sent the message.
    pub sender: &'static str,
    /// In `headers`: the brokers that the message has come through.
    pub seen_by: &'static str,
    /// In `federation`: the id of the request.
    pub request: &'static str,
    /// In `federation`: where the answer goes in the end.
    pub final_reply: &'static str,
    /// In `federation`: where the request goes.
    pub targets: &'static str,
    /// Whether the signed request has an envelope, with all but the message itself.
    pub has_envelope: bool,
}

/// The block of `headers` that is for federation brokers.
pub const FEDERATION: &str = "federation";

/// Version 1, and MCollective from before there were versions.
const V1: Names = Names {
    reply_to: "reply-to",
    sender: "mc_sender",
    seen_by: "seen-by",
    request: "req",
    final_reply: "reply-to",
    targets: "target",
    has_envelope: true,
};

/// Version 2.
const V2: Names = Names {
    reply_to: "reply",
    sender: "sender",
    seen_by: "trace",
    request: "request",
    final_reply: "reply",
    targets: "targets",
    has_envelope: false,
};

impl Names {
    /// Those of a protocol; `None` if it is not known.
    fn of(protocol: Option<&str>) -> Option<&'static Self> {
        match protocol {
            None | Some("choria:transport:1") => Some(&V1),
            Some("io.choria.protocol.v2.transport") => Some(&V2),
            Some(_) => None,
        }
    }
}

/// Why a message is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// It is not a JSON object with an object `headers`.
    Json,
    /// Its `protocol` is not known.
    Protocol,
    /// An object has a member twice, so that receivers may read different messages.
    Ambiguous,
}

/// An object whose values stay as they were written, in the order of its members.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Object<'a> {
    /// Reads an object.
    ///
    /// # Errors
    ///
    /// It is none, or it has a member twice.
    pub fn read(json: &'a str) -> Result<Self, Malformed> {
        let members: Members<'a> = serde_json::from_str(json).map_err(|_| Malformed::Json)?;
        if members.0.len() > MEMBERS_MAX {
            return Err(Malformed::Json);
        }
        let mut folded: Vec<String> = members.0.iter().map(|(name, _)| fold(name)).collect();
        folded.sort_unstable();
        if folded.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed::Ambiguous);
        }
        let raw = |(name, value): (Cow<'a, str>, &'a RawValue)| (name, Cow::Borrowed(value.get()));
        Ok(Self {
            members: members.0.into_iter().map(raw).collect(),
        })
    }

    /// All members, and the JSON of each.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, json)| (&**name, &**json))
    }

    /// The JSON of a member.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let (_, value) = members.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// The same if it is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Sets a member to some JSON; a new one is the last.
    pub fn set(&mut self, name: &'static str, json: String) {
        let mut members = self.members.iter_mut();
        match members.find(|(known, _)| known == name) {
            Some((_, value)) => *value = Cow::Owned(json),
            None => self.members.push((name.into(), Cow::Owned(json))),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(known, _)| known != name);
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.members.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{value}", quoted(name))?;
        }
        f.write_str("}")
    }
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The name as receivers that compare in any case see it. Some of them take ſ for s and the Kelvin
/// sign for k.
fn fold(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// A message.
pub struct Transport<'a> {
    source: &'a str,
    /// Where the value of `headers` is in it.
    headers_at: Range<usize>,
    /// The members of `headers`.
    pub headers: Object<'a>,
    /// The JSON of `data`, which the sender has signed.
    pub data: Option<&'a str>,
    /// The names of its version.
    pub names: &'static Names,
}

impl<'a> Transport<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let source = std::str::from_utf8(payload).map_err(|_| Malformed::Json)?;
        let whole = Object::read(source)?;
        let protocol = match whole.get("protocol") {
            None => None,
            Some(json) => {
                Some(serde_json::from_str::<String>(json).map_err(|_| Malformed::Protocol)?)
            }
        };
        let names = Names::of(protocol.as_deref()).ok_or(Malformed::Protocol)?;
        let (mut headers, mut data) = (None, None);
        for (name, value) in whole.members {
            match (&*name, value) {
                ("headers", Cow::Borrowed(json)) => headers = Some(json),
                ("data", Cow::Borrowed(json)) => data = Some(json),
                _ => {}
            }
        }
        let headers = headers.ok_or(Malformed::Json)?;
        let start = offset_of(headers, source);
        Ok(Self {
            source,
            headers_at: start..start + headers.len(),
            headers: Object::read(headers)?,
            data,
            names,
        })
    }

    /// The message with its headers as they are now.
    pub fn written(&self) -> Vec<u8> {
        let before = &self.source[..self.headers_at.start];
        let after = &self.source[self.headers_at.end..];
        format!("{before}{}{after}", self.headers).into_bytes()
    }
}

/// Offset of `part` within `whole`.
fn offset_of(part: &str, whole: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The members of an object, each value as it was written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for MembersVisitor<'a> {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<&'de RawValue>()?;
            // One more than is accepted, so that it is seen to be too many.
            if members.len() <= MEMBERS_MAX {
                members.push((Cow::Owned(name), value));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let message = br#" { "data" : "e30=", "num":1.50e+3, "headers" :{"mc_sender":"a","x":{"b" : [1.0,  2]} }
 ,"protocol":"choria:transport:1", "big":12345678901234567890123 }"#;
        let transport = Transport::read(message).expect("a message");
        let written = String::from_utf8(transport.written()).expect("text");
        let expected = r#" { "data" : "e30=", "num":1.50e+3, "headers" :{"mc_sender":"a","x":{"b" : [1.0,  2]}}
 ,"protocol":"choria:transport:1", "big":12345678901234567890123 }"#;
        assert_eq!(written, expected);
    }

    #[test]
    fn the_version_tells_the_names() {
        let names = |text: &str| Transport::read(text.as_bytes()).map(|it| it.names);
        assert_eq!(names(r#"{"headers":{}}"#), Ok(&V1));
        let with = |protocol: &str| format!(r#"{{"protocol":{protocol},"headers":{{}}}}"#);
        assert_eq!(names(&with(r#""choria:transport:1""#)), Ok(&V1));
        assert_eq!(
            names(&with(r#""io.choria.protocol.v2.transport""#)),
            Ok(&V2)
        );
        for unknown in [r#""choria:transport:3""#, "1", "null"] {
            assert_eq!(names(&with(unknown)), Err(Malformed::Protocol), "{unknown}");
        }
    }

    #[test]
    fn what_receivers_may_read_in_two_ways_is_refused() {
        for text in [
            r#"{"headers":{},"headers":{}}"#,
            r#"{"headers":{},"Headers":{}}"#,
            r#"{"headers":{},"header\u017f":{}}"#,
            r#"{"headers":{"reply-to":"a","Reply-To":"b"}}"#,
            r#"{"headers":{"reply-to":"a","reply\u002dto":"b"}}"#,
        ] {
            let read = Transport::read(text.as_bytes()).map(drop);
            assert_eq!(read, Err(Malformed::Ambiguous), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let many: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":0")).collect();
        let many = format!("{{\"headers\":{{{}}}}}", many.join(","));
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            "\u{feff}{}",
            r#"{"headers":[]}"#,
            r#"{"headers":1}"#,
            r#"{"headers":{}} x"#,
            &many,
        ] {
            let read = Transport::read(text.as_bytes()).map(drop);
            assert_eq!(read, Err(Malformed::Json), "{text}");
        }
        let read = Transport::read(b"{\"headers\":{},\"a\":\"\xff\"}").map(drop);
        assert_eq!(read, Err(Malformed::Json));
    }

    proptest! {
        /// Whatever is sent, reading ends without a panic; and what is a message is the same
        /// JSON afterwards.
        #[test]
        fn any_message_is_the_same_json_afterwards(
            before in "\\PC{0,20}", after in "\\PC{0,20}", number in any::<i64>(), noise in any::<Vec<u8>>(),
        ) {
            let _ = Transport::read(&noise);
            let message = serde_json::json!({
                "data": before,
                "headers": { "a": number, "mc_sender": after, "list": [before, { "b": after }] },
                "z": number,
            });
            let text = message.to_string();
            let transport = Transport::read(text.as_bytes()).expect("a message");
            let again: serde_json::Value =
                serde_json::from_slice(&transport.written()).expect("JSON");
            prop_assert_eq!(again, message);
        }
    }
}
