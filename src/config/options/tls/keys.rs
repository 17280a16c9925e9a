//! The table of the keys in `tls`.

use super::{
    Pair, Written,
    read::{expired_crl, handshake_first, min_version, path, pinned, read_pairs, texts},
};
use crate::{
    config::options::{
        table::{Block, Key, Kind, NoEffect, Reload, Section, Usual},
        unsupported::{is_bool, is_false, never, no_effect, refused, unsupported},
    },
    security::suites::{find_group, find_suite},
};

/// The keys of a block `tls`.
pub(in crate::config) static TLS_BLOCK: Block<Written> = Block {
    name: "tls",
    title: "In `tls`, at the top and in `cluster`",
    place: "tls",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "cert_file",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.pair.cert_file = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/cert.pem\""),
                doc: "The broker's certificate, followed by the intermediate CAs.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "key_file",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.pair.key_file = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/key.pem\""),
                doc: "The certificate's key.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "certs",
                aliases: &["certificates"],
                kind: Kind::Structure {
                    form: "list of blocks",
                    read: read_pairs,
                    blocks: &[&CERTS],
                },
                usual: Usual::Example("[{ cert_file: \"cert.pem\", key_file: \"key.pem\" }]"),
                doc: "Several certificates instead; a peer gets the first that fits.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "ca_file",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.tls.ca_file = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/ca.pem\""),
                doc: "The CAs that sign the peers' certificates; those of the system if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "crl_file",
                aliases: &["crl_files"],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: |it, entry, problems| {
                        it.tls.crl_files = texts(problems, entry, |text| Ok(text.into()));
                    },
                    blocks: &[],
                },
                usual: Usual::Example("\"/etc/midge/crl.pem\""),
                doc: "Files with CRLs: a peer whose certificate is revoked in one is refused.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "crl_expired",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.tls.crl_expired = expired_crl(text)?;
                    Ok(())
                }),
                usual: Usual::Default("reject"),
                doc: "What to do with peers when the CRL of their CA has expired: `reject` them, or `warn` and let them in.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "verify",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.tls.verify |= value),
                usual: Usual::Default("false"),
                doc: "Whether peers must show a certificate of `ca_file`.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "verify_and_map",
                aliases: &[],
                kind: Kind::Bool(|it, value| {
                    it.tls.map = value;
                    it.tls.verify |= value;
                }),
                usual: Usual::Default("false"),
                doc: "The same, and the certificate decides which user the peer is.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "verify_cert_and_check_known_urls",
                aliases: &[],
                kind: Kind::Bool(|it, value| {
                    it.tls.check_known_urls = value;
                    it.tls.verify |= value;
                }),
                usual: Usual::Default("false"),
                doc: "In `cluster`: whether the dialling member must have a certificate for a host in `routes`.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "insecure",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.tls.insecure = value),
                usual: Usual::Default("false"),
                doc: "`true` accepts any certificate of the brokers that are dialled: members, hubs of leafnodes, the upstream broker of a federation.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "timeout",
                aliases: &[],
                kind: Kind::Seconds(|it, time| {
                    if !time.is_zero() {
                        it.tls.timeout = time;
                    }
                }),
                usual: Usual::Default("2"),
                doc: "Time that a peer may keep the broker waiting in the TLS handshake. \
                      Set it to what clients wait for: docs/handshakes.md.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "handshake_first",
                aliases: &["first", "immediate"],
                kind: Kind::Structure {
                    form: "boolean, \"auto\" or duration",
                    read: handshake_first,
                    blocks: &[],
                },
                usual: Usual::Default("false"),
                doc: "Whether TLS starts before INFO: `true`, `false`, `\"auto\"` (if the peer starts TLS within 50 ms), or another time to wait for that.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "min_version",
                aliases: &[],
                kind: Kind::Structure {
                    form: "\"1.2\" or \"1.3\"",
                    read: min_version,
                    blocks: &[],
                },
                usual: Usual::Default("\"1.2\""),
                doc: "The oldest TLS version that is accepted.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "cipher_suites",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of names",
                    read: |it, entry, problems| {
                        it.tls.cipher_suites = texts(problems, entry, |name| {
                            find_suite(name).map(|_| name.to_owned())
                        });
                    },
                    blocks: &[],
                },
                usual: Usual::Example("[\"TLS_AES_256_GCM_SHA384\"]"),
                doc: "Cipher suites, preferred ones first; all secure ones if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "curve_preferences",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of names",
                    read: |it, entry, problems| {
                        it.tls.curve_preferences = texts(problems, entry, |name| {
                            find_group(name).map(|_| name.to_owned())
                        });
                    },
                    blocks: &[],
                },
                usual: Usual::Example("[\"X25519\"]"),
                doc: "Key exchange groups, preferred ones first; all secure ones if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "pinned_certs",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of strings",
                    read: |it, entry, problems| {
                        it.tls.pinned_certs = texts(problems, entry, pinned).into_iter().collect();
                    },
                    blocks: &[],
                },
                usual: Usual::Example(
                    "[\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]",
                ),
                doc: "SHA-256 (hexadecimal) of the public keys that peers may have.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "connection_rate_limit",
                aliases: &[],
                kind: Kind::Integer(i64::MIN..=i64::MAX, |it, limit| {
                    it.tls.connection_rate_limit =
                        u32::try_from(limit).ok().filter(|limit| *limit > 0);
                }),
                usual: Usual::Default("0"),
                doc: "Maximum number of handshakes started per second; 0: no limit.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "puppet",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.tls.puppet = value),
                usual: Usual::Default("false"),
                doc: "`true`: use certificate, key, CA and CRL of this host's Puppet agent, and let in only clients with a certificate of its CA.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "ssldir",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.tls.ssldir = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/puppetlabs/puppet/ssl\""),
                doc: "Folder of the agent's certificates, if not the one in its settings.",
                reload: Reload::WithBlock,
            },
            no_effect(
                "allow_insecure_cipher_suites",
                &[],
                NoEffect {
                    expected: "true or false, without quotes",
                    accepts: is_bool,
                    asks_for_nothing: is_false,
                    reason: "midge has none",
                },
            ),
            no_effect("ca_certs_match", &[], WINDOWS),
            no_effect("cert_match", &[], WINDOWS),
            no_effect("cert_match_by", &[], WINDOWS),
            no_effect("cert_match_skip_invalid", &[], WINDOWS),
            refused(
                "cert_store",
                &[],
                never,
                unsupported!("certificates are read from files: write cert_file and key_file"),
            ),
            refused(
                "ocsp_peer",
                &[],
                is_false,
                unsupported!("revoked certificates are known from CRLs: write crl_file"),
            ),
        ],
    }],
};

/// Keys of the store of certificates that Windows has.
const WINDOWS: NoEffect = NoEffect {
    expected: "a value",
    accepts: |_| true,
    asks_for_nothing: never,
    reason: "certificates are read from files: write cert_file and key_file",
};

/// The keys of an item of `certs`.
pub(super) static CERTS: Block<Pair> = Block {
    name: "certs",
    title: "In an item of `certs` of `tls`",
    place: "certs",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "cert_file",
                aliases: &[],
                kind: Kind::Text(|pair, text| {
                    pair.cert_file = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/cert.pem\""),
                doc: "A certificate, followed by the intermediate CAs.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "key_file",
                aliases: &[],
                kind: Kind::Text(|pair, text| {
                    pair.key_file = path(text);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/key.pem\""),
                doc: "The certificate's key.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};
