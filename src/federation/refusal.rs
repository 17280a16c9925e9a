//! Why a message is not passed on. Each reason is counted, and shown by its name.

use super::transport::Malformed;

macro_rules! refusals {
    ($($(#[$doc:meta])* $refusal:ident = ($name:literal, $text:literal),)*) => {
        /// Why a message is not passed on.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Refusal {
            $($(#[$doc])* $refusal,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$refusal),*];

            /// The name that answers show.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$refusal => $name,)*
                }
            }

            /// What is wrong with the message, as the end of a sentence.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$refusal => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// It is not a transport message.
    Malformed = ("malformed", "it is not the JSON of a Choria message"),
    /// Its protocol is not known.
    Protocol = ("protocol", "its protocol is neither version 1 nor version 2 of Choria's"),
    /// A member of an object is there twice.
    Ambiguous = ("ambiguous", "a name occurs twice in an object of it"),
    /// It has nothing for federation brokers.
    NotFederated = ("not_federated", "it has no \"federation\" in its headers"),
    /// It names no targets.
    NoTargets = ("no_targets", "it names no targets"),
    /// It names too many.
    TooManyTargets = ("too_many_targets", "it names more than 10000 targets"),
    /// A target is not a subject of an agent, a service or a node of the collectives.
    Target = (
        "target",
        "a target is no agent, service or node of the collectives of the block \"federation\""
    ),
    /// It does not say where replies go.
    NoReplyTo = ("no_reply_to", "it does not say where replies go"),
    /// Replies would go to a subject that is not one for them.
    ReplyTo = (
        "reply_to",
        "replies would go to a subject that is none for replies of the collectives of the block \
         \"federation\""
    ),
    /// The record of its hops is none.
    Hops = ("hops", "the record of the brokers that it came through is not a list"),
    /// It was here before.
    Loop = ("loop", "it has been here before, or came through too many brokers"),
    /// The other side does not accept so large a message.
    TooLarge = ("too_large", "it is larger than the brokers of the other side accept"),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Json => Self::Malformed,
            Malformed::Protocol => Self::Protocol,
            Malformed::Ambiguous => Self::Ambiguous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_name_of_its_own() {
        let mut names: Vec<_> = Refusal::ALL.map(Refusal::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
    }
}
