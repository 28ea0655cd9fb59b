//! The processors that cores are pinned to: which, how much of them, and how fast they are.

use corelog_node::sys::Error;
use corelog_node::sys::probe;

use super::check::Check;
use super::place::Place;
use crate::control_groups::{self, ControlGroup, Version};

const SYSTEM: &str = "/sys/devices/system/cpu";

/// All checks of processors.
pub(super) fn checks() -> Vec<Check> {
    let allowed = match probe::processors() {
        Ok(allowed) => allowed,
        Err(error) => return vec![unknown(&error)],
    };
    let governors = allowed.iter().map(|number| {
        let path = format!("{SYSTEM}/cpu{number}/cpufreq/scaling_governor");
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned())
    });
    let governors: Vec<_> = governors.flatten().collect();
    let share = Share {
        online: online(),
        quota_millis: quota(),
        place: Place::read(),
        allowed,
    };
    vec![cores(&share), governor(&governors)]
}

fn unknown(error: &Error) -> Check {
    Check::fair("cores", error.to_string(), "taskset -p $$")
}

/// What this process has of the machine's processors.
#[derive(Clone, Debug)]
struct Share {
    /// Those that it may run on.
    allowed: Vec<usize>,
    /// How many the machine has; None if it does not tell.
    online: Option<usize>,
    /// Thousandths of a processor that it may use in all; None: no limit.
    quota_millis: Option<u64>,
    place: Place,
}

fn cores(share: &Share) -> Check {
    const NAME: &str = "cores";
    let count = share.allowed.len();
    let mut found = format!("{count} to pin to: {}", ranges(&share.allowed));
    if let Some(online) = share.online.filter(|online| count < *online) {
        found = format!("{found}; the machine has {online}, affinity or a cpuset keeps it here");
    }
    match share.quota_millis {
        Some(quota) if quota < count as u64 * 1_000 => {
            let (whole, rest) = (quota / 1_000, quota % 1_000 / 100);
            let found = format!(
                "{found}; cpu.max allows {whole}.{rest} of them, then it is stopped until the next period"
            );
            Check::fair(NAME, found, raise_quota(share, whole))
        }
        _ => Check::good(NAME, found),
    }
}

fn raise_quota(share: &Share, whole: u64) -> String {
    let count = share.allowed.len();
    let raise = match &share.place {
        Place::Docker => format!("docker update --cpus {count} CONTAINER"),
        Place::Podman => format!("podman update --cpus {count} CONTAINER"),
        Place::Kubernetes => "take the cpu limit out of the pod's resources".to_owned(),
        Place::Unit(unit) => format!("systemctl set-property {unit} CPUQuota={count}00%"),
        Place::Machine => "echo max > cpu.max of its cgroup".to_owned(),
    };
    if whole == 0 {
        raise
    } else {
        format!("corelog serve --cores {whole}, or {raise}")
    }
}

fn governor(governors: &[String]) -> Check {
    const NAME: &str = "governor";
    if governors.is_empty() {
        return Check::good(
            NAME,
            "none: the frequency is fixed, or somebody else's matter",
        );
    }
    match governors.iter().find(|governor| *governor != "performance") {
        None => Check::good(NAME, "performance"),
        Some(governor) => Check::fair(
            NAME,
            format!("{governor}: a processor that was idle begins slowly"),
            "cpupower frequency-set -g performance",
        ),
    }
}

/// How many processors are on, of `/sys/devices/system/cpu/online`.
fn online() -> Option<usize> {
    let text = std::fs::read_to_string(format!("{SYSTEM}/online")).ok()?;
    count(&text)
}

/// How many numbers `0-3,6` has.
fn count(ranges: &str) -> Option<usize> {
    let of = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((last + 1).saturating_sub(first))
    };
    ranges.trim().split(',').map(of).sum()
}

/// Numbers in order as `0-3,6`.
fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let run = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// The least quota of this process's control groups and those around them, in thousandths of a processor.
fn quota() -> Option<u64> {
    let groups = control_groups::of_this_process("cpu");
    groups.iter().filter_map(quota_of).min()
}

fn quota_of(group: &ControlGroup) -> Option<u64> {
    match group.version {
        Version::One => {
            let (quota, period) = (
                group.read("cpu.cfs_quota_us")?,
                group.read("cpu.cfs_period_us")?,
            );
            quota_millis(&format!("{quota} {period}"))
        }
        Version::Two => quota_millis(&group.read("cpu.max")?),
    }
}

/// Thousandths of a processor that `QUOTA PERIOD`, in microseconds, allow; None where the quota is `max`, or -1 (version
/// 1): no limit.
fn quota_millis(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let (quota, period): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    quota.checked_mul(1_000)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn share(quota_millis: Option<u64>) -> Share {
        Share {
            allowed: vec![0, 1, 2, 5],
            online: Some(8),
            quota_millis,
            place: Place::Machine,
        }
    }

    #[test]
    fn processors_of_a_set_are_good_and_told() {
        let check = cores(&share(None));
        assert_eq!(check.verdict, Verdict::Good);
        assert!(check.found.contains("4 to pin to: 0-2,5"), "{check:?}");
        assert!(check.found.contains("the machine has 8"), "{check:?}");
        assert_eq!(cores(&share(Some(4_000))).verdict, Verdict::Good);
    }

    #[test]
    fn a_quota_below_its_processors_says_how_many_cores_to_serve_with() {
        let check = cores(&share(Some(2_500)));
        assert_eq!(check.verdict, Verdict::Fair);
        assert!(check.found.contains("cpu.max allows 2.5"), "{check:?}");
        let mend = check.mend.unwrap();
        assert!(mend.starts_with("corelog serve --cores 2"), "{mend}");
        let place = Place::Unit("corelog.service".to_owned());
        let less_than_one = Share {
            place,
            ..share(Some(500))
        };
        let mend = cores(&less_than_one).mend.unwrap();
        assert_eq!(mend, "systemctl set-property corelog.service CPUQuota=400%");
    }

    #[test]
    fn any_governor_but_performance_is_fair() {
        let told = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let judged = |words: &[&str]| {
            let words: Vec<String> = told(words);
            governor(&words)
        };
        assert_eq!(judged(&[]).verdict, Verdict::Good);
        assert_eq!(judged(&["performance"; 2]).verdict, Verdict::Good);
        let check = judged(&["performance", "powersave"]);
        assert_eq!(check.verdict, Verdict::Fair);
        assert!(check.mend.unwrap().starts_with("cpupower"));
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(count("0-3,6\n"), Some(5));
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("all"), None);
        assert_eq!(quota_millis("150000 100000\n"), Some(1_500));
        assert_eq!(quota_millis("max 100000\n"), None);
        assert_eq!(quota_millis("1 0\n"), None);
        assert_eq!(quota_millis("-1\n 100000\n"), None);
    }
}
