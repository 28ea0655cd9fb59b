//! The kernel: its version, whether it lets this process use io_uring, and who does not.

use corelog_node::sys::{Error, probe};

use super::check::Check;
use super::place::Place;

const INSTALL: &str = "install Linux 5.11 or later, then reboot into it";

/// All checks of the kernel.
pub(super) fn checks() -> Vec<Check> {
    vec![kernel(probe::kernel()), io_uring(&Rings::read())]
}

fn kernel(release: Result<String, Error>) -> Check {
    const NAME: &str = "kernel";
    match release {
        Ok(release) => Check::good(NAME, release),
        Err(error) => Check::bad(NAME, error.to_string(), INSTALL),
    }
}

/// What is known of io_uring here.
#[derive(Clone, Debug)]
struct Rings {
    answer: Answer,
    /// Whether this process may administrate the machine: level 1 of the sysctl spares it.
    is_admin: bool,
    /// Whether a seccomp filter stands between this process and the kernel.
    has_filter: bool,
    place: Place,
}

/// What the kernel, or who stands before it, said to `io_uring_setup(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    /// `ENOSYS`.
    Missing,
    /// `EPERM` or `EACCES`, with `kernel.io_uring_disabled`.
    Refused {
        level: u8,
    },
    Other(String),
}

/// Who refuses io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocker {
    Kernel,
    Sysctl { level: u8 },
    Filter,
    SecurityModule,
}

impl Rings {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            answer: match probe::rings() {
                Ok(()) => Answer::Allowed,
                Err(Error::RingsMissing) => Answer::Missing,
                Err(Error::RingsDisabled { level }) => Answer::Refused { level },
                Err(Error::RingsForbidden { .. }) => Answer::Refused { level: 0 },
                Err(error) => Answer::Other(error.to_string()),
            },
            is_admin: is_admin(&status),
            has_filter: field(&status, "Seccomp:") == Some("2"),
            place: Place::read(),
        }
    }

    /// Who is to blame for an answer that is a refusal.
    fn blocker(&self) -> Option<Blocker> {
        match self.answer {
            Answer::Allowed | Answer::Other(_) => None,
            // Some filters answer as a kernel would that does not know the call.
            Answer::Missing if self.has_filter => Some(Blocker::Filter),
            Answer::Missing => Some(Blocker::Kernel),
            Answer::Refused { level } if level >= 2 || (level == 1 && !self.is_admin) => {
                Some(Blocker::Sysctl { level })
            }
            Answer::Refused { .. } if self.has_filter => Some(Blocker::Filter),
            Answer::Refused { .. } => Some(Blocker::SecurityModule),
        }
    }
}

fn io_uring(rings: &Rings) -> Check {
    const NAME: &str = "io_uring";
    let bad = |found: &str, mend: String| Check::bad(NAME, found, mend);
    match (&rings.answer, rings.blocker()) {
        (Answer::Other(error), _) => Check::bad(NAME, error.clone(), INSTALL),
        (_, None) => Check::good(NAME, "allowed"),
        (_, Some(Blocker::Kernel)) => bad(
            "the kernel has none (ENOSYS), and no filter stands before it",
            format!("{INSTALL}, built with CONFIG_IO_URING"),
        ),
        (_, Some(Blocker::Sysctl { level })) => {
            let who = if level == 1 {
                "for all but administrators and kernel.io_uring_group"
            } else {
                "for everyone"
            };
            let found = format!("switched off {who}: kernel.io_uring_disabled={level}");
            Check::bad(NAME, found, "sysctl -w kernel.io_uring_disabled=0")
        }
        (_, Some(Blocker::Filter)) => bad(
            "a seccomp filter refuses it (Seccomp: 2 in /proc/self/status)",
            lift_filter(&rings.place),
        ),
        (_, Some(Blocker::SecurityModule)) => bad(
            "refused (EPERM) by no filter and no sysctl: a security module, SELinux or AppArmor",
            "ausearch -m avc -ts recent, or aa-status, says which rule; allow io_uring there"
                .to_owned(),
        ),
    }
}

/// What takes the filter away, or makes a hole in it.
fn lift_filter(place: &Place) -> String {
    const CALLS: &str = "io_uring_setup io_uring_enter io_uring_register";
    const OPTION: &str = "run --security-opt seccomp=deploy/docker/seccomp.json";
    match place {
        Place::Docker => format!("docker {OPTION}"),
        Place::Podman => format!("podman {OPTION}"),
        Place::Kubernetes => "copy deploy/docker/seccomp.json to the kubelet's seccomp directory \
             and kubectl apply -f deploy/kubernetes/corelog.yaml, which names it"
            .to_owned(),
        Place::Unit(unit) => {
            format!("systemctl edit {unit}, and add [Service] SystemCallFilter={CALLS}")
        }
        Place::Machine => {
            format!("start it elsewhere, or where the filter was set allow {CALLS}")
        }
    }
}

fn is_admin(status: &str) -> bool {
    /// The bit of `CAP_SYS_ADMIN` (21), from `linux/capability.h`.
    const ADMIN: u64 = 1 << 21;
    field(status, "CapEff:")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .is_some_and(|capabilities| capabilities & ADMIN != 0)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn rings(answer: Answer) -> Rings {
        Rings {
            answer,
            is_admin: false,
            has_filter: false,
            place: Place::Machine,
        }
    }

    #[test]
    fn an_old_kernel_is_bad_and_a_new_one_is_named() {
        assert_eq!(kernel(Ok("6.1".to_owned())), Check::good("kernel", "6.1"));
        let found = "4.19".to_owned();
        let old = kernel(Err(Error::Kernel { found }));
        assert_eq!(old.verdict, Verdict::Bad);
        assert!(old.mend.unwrap().contains("5.11"));
    }

    #[test]
    fn who_blocks_io_uring_is_found_out() {
        let refused = |level| rings(Answer::Refused { level });
        let behind_filter = |rings: Rings| Rings {
            has_filter: true,
            ..rings
        };
        let admin = |rings: Rings| Rings {
            is_admin: true,
            ..rings
        };
        let cases = [
            (rings(Answer::Allowed), None),
            (behind_filter(rings(Answer::Allowed)), None),
            (rings(Answer::Missing), Some(Blocker::Kernel)),
            (behind_filter(rings(Answer::Missing)), Some(Blocker::Filter)),
            (refused(2), Some(Blocker::Sysctl { level: 2 })),
            (admin(refused(2)), Some(Blocker::Sysctl { level: 2 })),
            (refused(1), Some(Blocker::Sysctl { level: 1 })),
            (behind_filter(admin(refused(1))), Some(Blocker::Filter)),
            (behind_filter(refused(0)), Some(Blocker::Filter)),
            (refused(0), Some(Blocker::SecurityModule)),
        ];
        for (rings, blocker) in cases {
            assert_eq!(rings.blocker(), blocker, "{rings:?}");
            let check = io_uring(&rings);
            let is_allowed = rings.answer == Answer::Allowed;
            assert_eq!(check.verdict == Verdict::Good, is_allowed, "{check:?}");
            assert_eq!(check.mend.is_none(), is_allowed, "{check:?}");
        }
        let off = io_uring(&refused(2)).mend.unwrap();
        assert_eq!(off, "sysctl -w kernel.io_uring_disabled=0");
    }

    #[test]
    fn a_filter_is_lifted_where_it_was_set() {
        let unit = Place::Unit("corelog.service".to_owned());
        for (place, command) in [
            (Place::Docker, "docker run --security-opt seccomp="),
            (Place::Podman, "podman run --security-opt seccomp="),
            (Place::Kubernetes, "kubectl apply"),
            (unit, "systemctl edit corelog.service"),
            (Place::Machine, "io_uring_setup"),
        ] {
            let rings = Rings {
                has_filter: true,
                place,
                ..rings(Answer::Refused { level: 0 })
            };
            let mend = io_uring(&rings).mend.unwrap();
            assert!(mend.contains(command), "{mend}");
        }
    }

    #[test]
    fn a_status_tells_capabilities_and_filters() {
        let status = "Name:\tcorelog\nCapEff:\t000001ffffffffff\nSeccomp:\t2\n";
        assert!(is_admin(status));
        assert_eq!(field(status, "Seccomp:"), Some("2"));
        assert!(!is_admin("CapEff:\t0000000000000000\n"));
        assert!(!is_admin(""));
    }
}
