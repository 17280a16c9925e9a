//! A credentials file: the JWT of a user, and the seed that signs for it. A test of the configuration
//! reads it, and so does each connection to a hub.

use std::{fs, io, path::Path};

use crate::protocol::nkey::UserSeed;

/// Bytes of a file.
const LEN_MAX: u64 = 256 * 1024;

/// What precedes the seed, and the JWT.
const SEED_BEGIN: &str = "BEGIN USER NKEY SEED";
const JWT_BEGIN: &str = "BEGIN NATS USER JWT";

/// Reads a file.
///
/// # Errors
///
/// Why it cannot be used, without a secret.
pub fn read(file: &Path) -> Result<(String, UserSeed), String> {
    let shown = file.display();
    let text = text(file).map_err(|error| format!("the credentials file {shown}: {error}"))?;
    parse(&text).map_err(|why| format!("the credentials file {shown} {why}"))
}

fn text(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > LEN_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {LEN_MAX} bytes"
        )));
    }
    fs::read_to_string(file)
}

/// The JWT and the seed: each is the line behind its heading.
fn parse(text: &str) -> Result<(String, UserSeed), &'static str> {
    let below = |heading: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(heading));
        lines.next()?;
        lines.map(str::trim).find(|line| !line.is_empty())
    };
    let jwt = below(JWT_BEGIN).ok_or("holds no JWT of a user")?;
    let seed = below(SEED_BEGIN).ok_or("holds no seed of a user")?;
    Ok((jwt.to_owned(), UserSeed::parse(seed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_jwt_and_a_seed() {
        let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
        let file = |seed: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\neyJ0.abc.def\n------END NATS USER JWT------\n\n\
                 ** IMPORTANT **\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
                 ------END USER NKEY SEED------\n"
            )
        };
        let (jwt, parsed) = parse(&file(seed)).expect("both are there");
        assert_eq!(jwt, "eyJ0.abc.def");
        assert!(parsed.public_key().starts_with('U'));
        assert!(parse("").is_err());
        assert!(parse(&file("SUA")).is_err());
        assert!(parse("-----BEGIN NATS USER JWT-----\nabc\n").is_err());
    }
}
