//! Input files: made from a seed, and the real ones of a folder if `CORELOG_TEST_LOGS` names one.

use std::path::Path;

/// A file to produce from.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    /// The lines without their newlines; a last one without a newline counts.
    pub(crate) fn lines(&self) -> Vec<&[u8]> {
        let bytes = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        if self.bytes.is_empty() {
            Vec::new()
        } else {
            bytes.split(|b| *b == b'\n').collect()
        }
    }

    /// The bytes as consume prints them: with a newline behind the last line.
    pub(crate) fn with_last_newline(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if bytes.last().is_some_and(|last| *last != b'\n') {
            bytes.push(b'\n');
        }
        bytes
    }
}

/// Every file there is to test with.
pub(crate) fn all(seed: u64) -> Vec<Input> {
    let mut inputs = generated(seed);
    if let Some(folder) = std::env::var_os("CORELOG_TEST_LOGS") {
        inputs.extend(real(Path::new(&folder)));
    }
    inputs
}

/// Files that hold what lines can hold, the same for the same seed.
pub(crate) fn generated(seed: u64) -> Vec<Input> {
    let mut random = fastrand::Rng::with_seed(seed);
    let input = |name: &str, bytes| Input {
        name: name.to_owned(),
        bytes,
    };
    vec![
        input("empty-lines", b"\n\n\na\n\n\nb\n\n".to_vec()),
        input("carriage-returns", b"a\r\n\r\nb\rc\n\r\r\n\rd\r".to_vec()),
        input("one-line-without-newline", b"alone".to_vec()),
        input("one-empty-line", b"\n".to_vec()),
        input(
            "no-utf-8",
            lines(&mut random, 500, 0..=300, |random| random.u8(..)),
        ),
        input("long-lines", long_lines(&mut random)),
        input(
            "many-short-lines",
            lines(&mut random, 20_000, 0..=30, |random| random.u8(b'a'..=b'z')),
        ),
        input("no-last-newline", {
            let mut bytes = lines(&mut random, 1_000, 1..=200, |random| random.u8(b' '..=b'~'));
            bytes.pop();
            bytes
        }),
    ]
}

/// The files of a folder, in the order of their names.
fn real(folder: &Path) -> Vec<Input> {
    let mut inputs: Vec<Input> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("CORELOG_TEST_LOGS={}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| Input {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: std::fs::read(&path).unwrap(),
        })
        .collect();
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        !inputs.is_empty(),
        "CORELOG_TEST_LOGS={} holds no files",
        folder.display()
    );
    inputs
}

fn lines(
    random: &mut fastrand::Rng,
    count: usize,
    bytes: std::ops::RangeInclusive<usize>,
    byte: impl Fn(&mut fastrand::Rng) -> u8,
) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..count {
        for _ in 0..random.usize(bytes.clone()) {
            let byte = byte(random);
            text.push(if byte == b'\n' { b'.' } else { byte });
        }
        text.push(b'\n');
    }
    text
}

/// Lines of 1 MiB, the largest a record may hold, between small ones.
fn long_lines(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..4 {
        text.extend_from_slice(b"small\n");
        let start = text.len();
        text.resize(start + (1 << 20), 0);
        random.fill(&mut text[start..]);
        text[start..]
            .iter_mut()
            .filter(|b| **b == b'\n')
            .for_each(|b| *b = b'.');
        text.push(b'\n');
    }
    text
}
