use super::sim::Sim;

/// Runs one seeded case; the seed stands in the message of a failure.
fn run(seed: u64, steps: usize) -> Sim {
    let caught = std::panic::catch_unwind(|| {
        let mut sim = Sim::new(seed);
        for _ in 0..steps {
            sim.step();
        }
        sim.finish();
        sim
    });
    match caught {
        Ok(sim) => sim,
        Err(panic) => {
            eprintln!("model case with seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_log_is_its_model_whatever_interleaves_and_whenever_the_power_goes() {
    let (mut cuts, mut sealed) = (0, 0);
    for seed in 0..1000 {
        let sim = run(seed, 150);
        cuts += sim.cuts;
        sealed += sim.sealed;
    }
    assert!(cuts > 1000, "{cuts} power cuts");
    assert!(sealed > 200, "{sealed} segments sealed");
}
