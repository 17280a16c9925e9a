//! Names of cipher suites, key exchange groups and TLS versions, as nats-server writes them.

use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs, ring},
};

/// Supported cipher suites in order of preference. Like nats-server, prefers AES with the shorter
/// key, which is safe and costs less.
const SUITES: &[(&str, CipherSuite)] = &[
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Supported key exchange groups.
const GROUPS: &[(&str, NamedGroup)] = &[
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ("X25519", NamedGroup::X25519),
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
];

/// The suite of this name, in any case. Older names of the ChaCha20 suites lack the digest.
///
///  # Errors
///
/// A message for the author of the configuration.
pub fn find_suite(name: &str) -> Result<CipherSuite, String> {
    let wanted = name.to_ascii_uppercase();
    let found = SUITES
        .iter()
        .find(|(known, _)| *known == wanted || *known == format!("{wanted}_SHA256"));
    found.map(|(_, suite)| *suite).ok_or_else(|| {
        format!(
            "the cipher suite {name:?} is unknown or too weak; supported are {}",
            names(SUITES)
        )
    })
}

/// The key exchange group of this name, in any case.
///
///  # Errors
///
/// A message for the author of the configuration.
pub fn find_group(name: &str) -> Result<NamedGroup, String> {
    let found = GROUPS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, group)| *group).ok_or_else(|| {
        format!(
            "the curve {name:?} is not supported; supported are {}",
            names(GROUPS)
        )
    })
}

/// A suite's name.
pub fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    let known = SUITES.iter().find(|(_, known)| *known == suite.suite());
    known.map_or("unknown", |(name, _)| name)
}

/// A version's name, as in `1.3`.
pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "1.3",
        ProtocolVersion::TLSv1_2 => "1.2",
        _ => "unknown",
    }
}

/// The cryptography provider with these suites and groups in order of preference; an empty list
/// means all. The suites of TLS 1.3 are always included, as in nats-server; naming them puts them
/// first.
///
///  # Errors
///
/// A name is not known.
pub(super) fn provider(suites: &[String], groups: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = aws_lc_rs::default_provider();
    if is_aes_faster_in_ring() {
        provider.cipher_suites = ring::ALL_CIPHER_SUITES.to_vec();
    }
    let wanted = suites.iter().map(|name| find_suite(name));
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let named = |suite: CipherSuite| wanted.iter().position(|wanted| *wanted == suite);
    let known = |suite: CipherSuite| SUITES.iter().position(|(_, known)| *known == suite);
    let offered = &mut provider.cipher_suites;
    offered.retain(|offered| {
        let suite = offered.suite();
        known(suite).is_some()
            && (wanted.is_empty() || offered.tls13().is_some() || named(suite).is_some())
    });
    offered.sort_by_key(|offered| {
        let suite = offered.suite();
        (named(suite).unwrap_or(usize::MAX), known(suite))
    });
    if !groups.is_empty() {
        let wanted = groups.iter().map(|name| find_group(name));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        let all = aws_lc_rs::ALL_KX_GROUPS;
        provider.kx_groups = wanted
            .iter()
            .filter_map(|group| all.iter().find(|known| known.name() == *group).copied())
            .collect();
    }
    Ok(provider)
}

/// Whether this processor computes AES-GCM on two blocks at a time but not on four (VAES without
/// AVX-512: AMD's Zen 3, Intel's desktops since Alder Lake). ring uses the former, aws-lc only the
/// latter. Everything else, above all signatures, is faster in aws-lc.
///
/// Measured by `benches/aes_gcm.rs`, which says how to repeat it: one core of an EPYC seals full
/// records of AES-256-GCM at 5.4 GiB/s in aws-lc; with AVX-512 hidden at 3.1 GiB/s in aws-lc and at
/// 4.5 GiB/s in ring.
fn is_aes_faster_in_ring() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && !is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

fn names<T>(table: &[(&str, T)]) -> String {
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}
