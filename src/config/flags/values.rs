//! The values of flags.

use super::{Invocation, Signal, Target, signal::UPGRADE};
use crate::config::{options::table::Kind, syntax::Value};

/// Whether the output is JSON.
pub(super) fn read_format(flag: &str, text: &str) -> Result<bool, String> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(format!(
            "the flag {flag} must be text or json, not {text:?}"
        )),
    }
}

/// The value of a flag as the key it sets would have it in a file.
pub(super) fn flag_value<T>(kind: &Kind<T>, flag: &str, text: &str) -> Result<Value, String> {
    Ok(match kind {
        Kind::Bool(_) => Value::Bool(read_bool(flag, text)?),
        Kind::Integer(..) | Kind::Size(..) => Value::Integer(
            text.parse()
                .map_err(|_| format!("the flag {flag} needs a number, not {text:?}"))?,
        ),
        _ => Value::String(text.into()),
    })
}

pub(super) fn read_bool(flag: &str, text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "the flag {flag} must be true or false, not {text:?}"
        )),
    }
}

pub(super) fn read_signal(text: &str) -> Result<Invocation, String> {
    let (name, target) = match text.split_once('=') {
        Some((name, target)) => (name, Target::from_text(target)),
        None => (text, Target::Only),
    };
    if name == UPGRADE {
        return Ok(Invocation::Upgrade { target });
    }
    let signal = Signal::from_name(name)
        .ok_or_else(|| format!("unknown signal {name:?}; known are {}", Signal::NAMES))?;
    Ok(Invocation::Signal { signal, target })
}
