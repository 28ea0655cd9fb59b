//! The network: how fast the kernel lets a connection send.

use super::check::Check;

/// All checks of the network.
pub(super) fn checks() -> Vec<Check> {
    let name = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    vec![congestion_control(name.as_deref().unwrap_or_default())]
}

/// Of tcp(7). BBR sends by timers, of the kernel where the device has none: between two programs of one machine, over a
/// virtual network, streams to readers were 1.6 times as fast without, for two thirds of the processor's time.
fn congestion_control(name: &str) -> Check {
    const NAME: &str = "congestion control";
    match name.trim() {
        "" => Check::good(NAME, "not told"),
        name if name.starts_with("bbr") => Check::fair(
            NAME,
            format!(
                "{name}: sends to other machines by timers, which costs streams in a fast network a third"
            ),
            "sysctl -w net.ipv4.tcp_congestion_control=cubic, unless clients are far away",
        ),
        name => Check::good(NAME, name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn one_that_sends_by_timers_is_fair() {
        let check = congestion_control("bbr\n");
        assert_eq!(check.verdict, Verdict::Fair);
        assert!(check.mend.unwrap().starts_with("sysctl -w net.ipv4"));
        for name in ["cubic\n", "reno\n", "dctcp\n", ""] {
            assert_eq!(congestion_control(name).verdict, Verdict::Good, "{name}");
        }
    }
}
