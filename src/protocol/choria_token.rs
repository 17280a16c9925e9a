//! Recognizes the tokens of Choria, which its clients show as `auth_token` or `jwt`. They are not
//! checked: the log tells the operator what a refused client has shown.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// What each purpose of such a token begins with.
const PURPOSE: &str = "choria_";

#[derive(Deserialize)]
struct Claims {
    purpose: String,
}

/// Whether it is a JWT that says it is Choria's.
pub fn is_choria_token(token: &str) -> bool {
    let claims = token.split('.').nth(1);
    let json = claims.and_then(|part| BASE64URL_NOPAD.decode(part.as_bytes()).ok());
    let claims = json.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    claims.is_some_and(|claims| claims.purpose.starts_with(PURPOSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_with_a_purpose_of_choria_are_recognized() {
        let token = |claims: &str| {
            let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
            format!("{}.{}.c2ln", part(r#"{"alg":"EdDSA"}"#), part(claims))
        };
        let choria = token(r#"{"iss":"I-x","purpose":"choria_server","exp":5}"#);
        assert!(is_choria_token(&choria));
        for other in [
            "",
            "...",
            "s3cret",
            "a.!.b",
            &token("{"),
            &token(r#"{"nats":{"type":"user"}}"#),
            &token(r#"{"purpose":["choria_server"]}"#),
            &token(r#"{"purpose":"other"}"#),
        ] {
            assert!(!is_choria_token(other), "{other}");
        }
    }
}
