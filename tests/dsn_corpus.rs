//! Runs the fuzz target on its corpus and on some thousand mutations, the same ones each time. Unlike cargo-fuzz, this
//! needs no nightly compiler.

use std::fs;

#[path = "../fuzz/dsn_check.rs"]
mod dsn_check;

const MUTATIONS: usize = 20_000;

/// The characters that mutations insert: those with a meaning in the grammars, and some others.
const PIECES: [&str; 34] = [
    ":",
    "/",
    "?",
    "&",
    "=",
    "@",
    ",",
    "[",
    "]",
    "%",
    "%00",
    "%2F",
    "%40",
    "%ff",
    "%2",
    "'",
    "\\",
    " ",
    "+",
    "#",
    "\t",
    "\0",
    "é",
    "postgresql://",
    "+asyncpg",
    "::1",
    "host=",
    "port=",
    "hostaddr=",
    "sslmode=",
    "password=",
    "65536",
    "-1",
    "",
];

#[test]
fn the_corpus_holds() {
    for seed in seeds() {
        dsn_check::check(&seed);
    }
}

#[test]
fn mutations_of_the_corpus_hold() {
    let seeds = seeds();
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    for _ in 0..MUTATIONS {
        let mut text: Vec<char> = dice.one_of(&seeds).chars().collect();
        for _ in 0..=dice.below(4) {
            mutate(&mut text, &mut dice, &seeds);
        }
        let text: String = text.into_iter().collect();
        dsn_check::check(&text);
    }
}

fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/dsn");
    let entries = fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut paths: Vec<_> =
        entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    // Sorted, because the mutations depend on the order, and the order of a directory is arbitrary.
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("seeds are UTF-8")).collect()
}

fn mutate(text: &mut Vec<char>, dice: &mut Dice, seeds: &[String]) {
    let (a, b) = (dice.below(text.len() + 1), dice.below(text.len() + 1));
    let range = a.min(b)..a.max(b).min(a.min(b) + 8);
    match dice.below(5) {
        0 => drop(text.drain(range)),
        1 => drop(text.splice(a..a, dice.one_of(&PIECES).chars())),
        2 => drop(text.splice(range, dice.one_of(&PIECES).chars())),
        3 => text.truncate(a),
        _ => text.extend(dice.one_of(seeds).chars().skip(b)),
    }
}

/// Xorshift random numbers: the same sequence in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
