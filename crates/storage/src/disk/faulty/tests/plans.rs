//! Plans chosen by a seed.

use super::*;

/// A small life: files are made, written, synced, renamed and removed. Errors are borne.
fn live(dir: &FaultyDir<MemoryDir>) {
    for round in 0..20_u8 {
        let made = block_on(dir.open("f.new", Open::Create));
        if let Ok(file) = made {
            let _borne = block_on(file.allocate(0..4 * BLOCK_BYTES as u64, Space::Zeroed));
            let _borne = block_on(file.write_at(blocks(dir, 4, round), 0));
            let _borne = block_on(file.read_at(100, 5000));
            let _borne = block_on(file.set_len(5000));
            let _borne = block_on(file.sync_all());
            let _borne = block_on(Rc::new(file).close());
        }
        let _borne = block_on(dir.rename("f.new", dir, "f"));
        let _borne = block_on(dir.map("f", |_| true));
        let _borne = block_on(dir.sync());
        let _borne = block_on(dir.list());
        if round % 3 == 0 {
            let _borne = block_on(dir.remove("f"));
        }
    }
}

/// As many operations of each kind as a life has.
const ERRORS: Profile = Profile {
    nth_max: 15,
    ..Profile::ERRORS
};

const LIES: Profile = Profile {
    nth_max: 15,
    ..Profile::LIES
};

#[test]
fn a_seed_always_makes_the_same_faults_and_the_same_disk() {
    for profile in [ERRORS, LIES] {
        let mut stories = ::std::collections::BTreeSet::new();
        for seed in 0..50 {
            let plan = Plan::seeded(seed, profile);
            assert_eq!(plan, Plan::seeded(seed, profile));
            let run = || {
                let dir = dir();
                dir.faults().install(&plan);
                live(&dir);
                (dir.inner().power_cut(seed).hash(), dir.faults().happened())
            };
            let (hash, happened) = run();
            stories.insert(format!("{happened:?}"));
            assert_eq!(run(), (hash, happened));
        }
        assert!(stories.len() > 20, "{}", stories.len());
    }
}

#[test]
fn what_happened_makes_the_same_run_as_a_plan() {
    for seed in 0..50 {
        let plan = Plan::seeded(seed, ERRORS);
        let first = dir();
        first.faults().install(&plan);
        live(&first);
        let events = first.faults().happened().into_iter().map(|happened| Event {
            which: Match::ANY,
            nth: happened.number,
            fault: happened.fault,
        });
        let events = events.collect();
        let again = dir();
        again.faults().install(&Plan { seed, events });
        live(&again);
        assert_eq!(again.faults().happened(), first.faults().happened());
        assert_eq!(again.inner().hash(), first.inner().hash(), "{plan}");
    }
}

#[test]
fn every_kind_of_fault_is_chosen_and_happens() {
    let mut happened = ::std::collections::BTreeSet::new();
    for seed in 0..300 {
        for profile in [ERRORS, LIES] {
            let dir = dir();
            dir.faults().install(&Plan::seeded(seed, profile));
            live(&dir);
            for fault in dir.faults().happened() {
                let fault = format!("{:?}", fault.fault);
                let name = fault.split([' ', '{']).next().unwrap().to_owned();
                let is_detailed = name.starts_with("FailSync") || name.starts_with("Halt");
                let short = name.split('(').next().unwrap().to_owned();
                happened.insert(if is_detailed { name } else { short });
            }
        }
    }
    let expected = [
        "Delayed",
        "Fail",
        "FailAfter",
        "FailSync(Btrfs)",
        "FailSync(Device)",
        "FailSync(Ext4)",
        "FailSync(Xfs)",
        "Flip",
        "Halt(ReadOnly)",
        "Halt(Shutdown)",
        "Lost",
        "Misdirected",
        "Short",
        "Torn",
        "TornBlocks",
    ];
    assert_eq!(happened, expected.map(str::to_owned).into());
}

#[test]
fn a_plan_says_what_it_holds() {
    let event = Event {
        which: Match::on(Operation::Write, ".log"),
        nth: 7,
        fault: Fault::Lost,
    };
    let events = vec![event];
    let plan = Plan { seed: 3, events };
    assert_eq!(plan.to_string(), "plan of seed 3: [Write 7 of *.log: Lost]");
}
