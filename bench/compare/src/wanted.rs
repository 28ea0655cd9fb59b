//! What a run is limited to: names by their starts.

use anyhow::{Result, ensure};

/// Whether a name begins as one of those that are wanted, if any are named.
pub fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|start| begins(name, start))
}

/// Refuses what is the start of no name: it is mistyped, and would be missed only at the end.
///
/// # Errors
/// With the names there are.
pub fn check(option: &str, wanted: &[String], names: &[&str]) -> Result<()> {
    for start in wanted {
        ensure!(
            names.iter().any(|name| begins(name, start)),
            "{option}: nothing begins with {start:?}; there are: {}",
            names.join(", ")
        );
    }
    Ok(())
}

fn begins(name: &str, start: &str) -> bool {
    name.to_lowercase().starts_with(&start.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_no_name_is_refused() {
        let names = ["durable-one", "durable-64x1", "Redis Streams"];
        let wanted = |words: &[&str]| words.iter().map(|&word| word.into()).collect::<Vec<_>>();
        assert!(check("--only", &wanted(&[]), &names).is_ok());
        assert!(check("--only", &wanted(&["durable", "redis"]), &names).is_ok());
        let refused = check("--only", &wanted(&["durable", "duarble"]), &names);
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains("duarble") && said.contains("durable-64x1"),
            "{said}"
        );
        assert!(is_wanted("Redis Streams", &wanted(&["bare", "redis"])));
        assert!(!is_wanted("Redis Streams", &wanted(&["duarble"])));
    }
}
