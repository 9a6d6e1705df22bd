//! New inputs out of old ones, the same ones for the same seed.

use fastrand::Rng;

/// No input is longer, bytes.
const LONGEST: usize = 64 * 1024;

/// An input out of the corpus, changed in a few places.
pub fn input(rng: &mut Rng, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = match corpus {
        [] => Vec::new(),
        corpus => corpus[rng.usize(..corpus.len())].clone(),
    };
    for _ in 0..1 << rng.usize(..5) {
        change(rng, &mut input, corpus, words);
    }
    input.truncate(LONGEST);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let at = rng.usize(..=input.len());
    let end = (at + 1 + rng.usize(..32)).min(input.len());
    match rng.usize(..9) {
        0 if at < input.len() => input[at] ^= 1 << rng.usize(..8),
        1 if at < input.len() => input[at] = rng.u8(..),
        2 => drop(input.drain(at..end)),
        3 => {
            let again = input[at..end].to_vec();
            insert(input, at, &again);
        }
        4 | 5 if !words.is_empty() => {
            insert(input, at, words[rng.usize(..words.len())].as_bytes());
        }
        6 if !corpus.is_empty() => {
            let other = &corpus[rng.usize(..corpus.len())];
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(..256)).min(other.len());
            insert(input, at, &other[from..to]);
        }
        7 => input.truncate(at),
        _ => {
            let fresh: Vec<u8> = (0..rng.usize(1..64)).map(|_| rng.u8(..)).collect();
            insert(input, at, &fresh);
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
