//! Files' modes hold for everyone but the superuser, as whom tests may run.

/// What runs a process that files' modes hold for, whoever runs the tests; nothing where they do anyhow.
pub(crate) fn without() -> Vec<String> {
    let without = "-dac_override,-dac_read_search";
    let sets = ["--bounding-set", "--inh-caps"].map(|set| format!("{set}={without}"));
    let words = [&["setpriv".to_owned()][..], &sets].concat();
    match nix::unistd::geteuid().is_root() {
        true => words,
        false => Vec::new(),
    }
}
