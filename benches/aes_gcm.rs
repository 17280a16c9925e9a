//! How fast the two TLS providers seal records with AES-256-GCM on this processor. It
//! justifies the choice in `src/security/suites.rs`: ring where the processor has VAES but
//! no AVX-512, aws-lc otherwise.
//!
//! `cargo bench --bench aes_gcm`; with `--profile dev` full records have nearly the same
//! figures, as both providers are assembler. On a processor with AVX-512, `OPENSSL_ia32cap=:~0xC0030000` hides it from
//! aws-lc, so that the figures are those of a processor without it.

use std::hint::black_box;

use rustls::{
    CipherSuite, ContentType, ProtocolVersion, SupportedCipherSuite,
    crypto::{
        aws_lc_rs,
        cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage},
        ring,
    },
};

/// Payloads of records: a small message, a usual one, a full record.
const SIZES: [usize; 3] = [128, 1024, 16 * 1024];

/// Bytes that are sealed in one run.
const RUN_LEN: usize = 32 << 20;

/// Runs of each provider, in turn; the fastest counts.
const RUNS: usize = 15;

fn main() {
    // `cargo test --all-targets` also starts benchmarks; only `cargo bench` passes this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("sealed with AES-256-GCM, in MiB for each second of one core");
    println!("{:>8}  {:>8}  {:>8}  ratio", "record", "aws-lc", "ring");
    for size in SIZES {
        let providers = [aws_lc_rs::ALL_CIPHER_SUITES, ring::ALL_CIPHER_SUITES];
        let mut rates = [0.0_f64; 2];
        for _ in 0..RUNS {
            for (suites, best) in providers.iter().zip(&mut rates) {
                *best = best.max(rate(encrypter(suites), size));
            }
        }
        let [aws_lc, ring] = rates;
        println!(
            "{size:>8}  {aws_lc:>8.0}  {ring:>8.0}  {:.2}",
            ring / aws_lc
        );
    }
}

/// A provider's way to seal records.
fn encrypter(suites: &[SupportedCipherSuite]) -> Box<dyn MessageEncrypter> {
    let wanted = CipherSuite::TLS13_AES_256_GCM_SHA384;
    let suite = suites.iter().find(|suite| suite.suite() == wanted);
    let suite = suite
        .and_then(SupportedCipherSuite::tls13)
        .expect("the suite");
    suite
        .aead_alg
        .encrypter(AeadKey::from([7; 32]), Iv::from([9; 12]))
}

/// MiB sealed in a second of this thread's CPU time.
fn rate(mut encrypter: Box<dyn MessageEncrypter>, size: usize) -> f64 {
    let payload = vec![0x55; size];
    let records = RUN_LEN / size;
    let begin = cpu_seconds();
    for number in 0..records as u64 {
        let record = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(&payload),
        };
        let sealed = encrypter.encrypt(record, number).expect("it is sealed");
        black_box(sealed);
    }
    (records * size) as f64 / (1 << 20) as f64 / (cpu_seconds() - begin)
}

/// CPU time of this thread: others that use the machine do not count.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "clock_gettime");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
