//! Runs one of the hot functions, for who counts what it does: `hot NAME RUNS`, or `hot` for their names,
//! each with how many batches, frames or acknowledgements a run is for.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [] => {
            for (name, hot) in corelog_bench_hot::ALL {
                println!("{name} {}", hot().count());
            }
            ExitCode::SUCCESS
        }
        [name, runs] => run(name, runs),
        _ => usage(),
    }
}

fn run(name: &str, runs: &str) -> ExitCode {
    let hot = corelog_bench_hot::ALL
        .iter()
        .find(|(known, _)| known == &name);
    match (hot, runs.parse()) {
        (Some((_, hot)), Ok(runs)) => {
            corelog_bench_hot::repeat(&mut *hot(), runs);
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("hot: hot NAME RUNS; without either it lists the names");
    ExitCode::from(2)
}
