//! Runs the corpus of the fuzz targets and a bounded number of mutations of it, short
//! enough for every test run. Long runs are made with `cargo fuzz run TARGET` in `fuzz/`.

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::{fs, path::Path};

use targets::TARGETS;

/// Mutations tried per target.
const MUTATIONS: usize = 20_000;

#[test]
fn the_corpus_and_its_mutations_find_no_failure() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let folder = corpus.join(name);
        let inputs: Vec<Vec<u8>> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
            .collect();
        assert!(inputs.len() > 10, "{name} has a corpus");
        inputs.iter().for_each(|input| target(input));
        // The same mutations in every run, so that a failure can be repeated.
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..MUTATIONS {
            let input = mutate(&mut random, &inputs);
            target(&input);
        }
    }
}

/// Two inputs of the corpus spliced, and a few bytes changed.
fn mutate(random: &mut fastrand::Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let (first, second) = (random.choice(inputs), random.choice(inputs));
    let (first, second) = (first.expect("an input"), second.expect("an input"));
    let mut input = first[..random.usize(..=first.len())].to_vec();
    input.extend_from_slice(&second[random.usize(..=second.len())..]);
    for _ in 0..random.usize(..4) {
        if !input.is_empty() {
            let at = random.usize(..input.len());
            input[at] = *random
                .choice(b"\r\n\t .*>$\"'{}[]:,#0129aPSU\x00\xff")
                .expect("a byte");
        }
    }
    input
}
