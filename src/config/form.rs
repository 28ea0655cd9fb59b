//! How the value of a setting is written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use corelog_record::ByteSize;
use serde_json::Value;

use crate::quantity::{self, Span, WAIT_MAX};
use crate::telemetry;

/// How the value of a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Directory,
    Address,
    Host,
    Cores,
    /// From 1 to this.
    Count(u32),
    Switch,
    Size,
    /// A size that is done in a second, or zero.
    Rate,
    Timeout,
    /// As a timeout, or zero: never.
    TimeoutOrNever,
    LogFilter,
    LogFormat,
}

/// The name clients are told: `HOST` or `HOST:PORT`; an IPv6 address with a port stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Form {
    /// The value in the one way in which it is shown, or what is wrong with it.
    pub(crate) fn read(self, text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err("it must not be empty".to_owned());
        }
        match self {
            Self::Directory => match std::path::absolute(text) {
                Ok(path) => path.to_str().map(str::to_owned).ok_or_else(|| {
                    format!(
                        "`{text}` is below a directory whose name is not UTF-8: start elsewhere"
                    )
                }),
                Err(error) => Err(format!("`{text}` is no directory: {error}")),
            },
            Self::Address => {
                as_is::<SocketAddr>(text, "an IP address and a port, as in 127.0.0.1:7400")
            }
            Self::Host => text.parse::<Host>().map(|host| host.to_string()),
            Self::Cores => as_is::<NonZeroU16>(text, "a whole number from 1 to 65535"),
            Self::Count(most) => count(text, most),
            Self::Switch => switch(text),
            Self::Size => text
                .parse::<ByteSize>()
                .map(|size| size.to_string())
                .map_err(|error| error.to_string()),
            Self::Rate => match text.parse::<ByteSize>() {
                Ok(NOTHING) => Ok(NOTHING.to_string()),
                _ => quantity::rate(text)
                    .map(|rate| rate.to_string())
                    .map_err(|why| format!("{why}, or 0")),
            },
            Self::Timeout => timeout(text),
            Self::TimeoutOrNever => match text.parse() {
                Ok(Span(Duration::ZERO)) => Ok(Span(Duration::ZERO).to_string()),
                _ => timeout(text).map_err(|why| format!("{why}, or 0s for never")),
            },
            Self::LogFilter => telemetry::filter(text).map(|_filter| text.to_owned()),
            Self::LogFormat => as_is::<telemetry::Format>(text, "text or json"),
        }
    }

    /// A value that was read, as JSON.
    pub(crate) fn json(self, text: &str) -> Value {
        match self {
            Self::Cores | Self::Count(_) => text.parse::<u32>().map_or(Value::Null, Value::from),
            Self::Switch => Value::Bool(text == "true"),
            _ => Value::from(text),
        }
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not HOST or HOST:PORT");
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                let port: NonZeroU16 = port.parse().map_err(|_source| wrong())?;
                (name, Some(port.get()))
            }
            _ => (text, None),
        };
        if is_unspecified(name) {
            return Err(format!(
                "`{name}` is every address of a machine, and none that others can connect to: name one that they can"
            ));
        }
        if name.contains(',') {
            return Err(format!(
                "`{text}` is several: clients are told one HOST or HOST:PORT"
            ));
        }
        if !is_host(name) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

/// A name, or an address, which has brackets around it or not if it is of IPv6.
fn is_host(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        None if !name.contains(':') => {
            let is_odd = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '/');
            !name.is_empty() && !name.contains(is_odd)
        }
        bare => {
            let address = bare.unwrap_or(name);
            let (address, _zone) = address.split_once('%').unwrap_or((address, ""));
            address.parse::<Ipv6Addr>().is_ok()
        }
    }
}

/// `0.0.0.0` or `[::]`, which is a matter of listening.
fn is_unspecified(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_unspecified())
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

const NOTHING: ByteSize = ByteSize::from_bytes(0);

fn as_is<T: FromStr + fmt::Display>(text: &str, what: &str) -> Result<String, String> {
    match text.parse::<T>() {
        Ok(value) => Ok(value.to_string()),
        Err(_) => Err(format!("`{text}` is not {what}")),
    }
}

fn count(text: &str, most: u32) -> Result<String, String> {
    let count = text.parse::<u32>().ok();
    match count.filter(|count| (1..=most).contains(count)) {
        Some(count) => Ok(count.to_string()),
        None => Err(format!("`{text}` is not a whole number from 1 to {most}")),
    }
}

fn switch(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok("true".to_owned()),
        "false" | "0" | "no" | "off" => Ok("false".to_owned()),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Shorter, and a slow network is taken for a dead peer; longer, and clocks cannot be moved on by it.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=WAIT_MAX;

fn timeout(text: &str) -> Result<String, String> {
    let span = Span::within(TIMEOUT, text);
    span.map(|span| span.to_string())
        .map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients, and other nodes, were told to connect to what is no place, and the node had started.
    #[test]
    fn an_advertised_address_is_one_that_others_can_connect_to() {
        let why = |text| Form::Host.read(text).unwrap_err();
        for text in [
            "0.0.0.0",
            "0.0.0.0:7400",
            "::",
            "[::]:7400",
            "::ffff:0.0.0.0",
        ] {
            assert!(why(text).contains("can connect to"), "{}", why(text));
        }
        for text in ["log1,log2", "log1:7400,log2:7400"] {
            assert!(why(text).contains("HOST"), "{}", why(text));
        }
        for text in ["log1/foo", "http://log1", "log1/foo:7400", "log 1"] {
            assert!(
                why(text).contains("is not HOST or HOST:PORT"),
                "{}",
                why(text)
            );
        }
        assert_eq!(Form::Host.read("10.0.0.7:7400").unwrap(), "10.0.0.7:7400");
    }

    #[test]
    fn a_rate_is_none_or_one_that_comes_to_an_end() {
        assert_eq!(Form::Rate.read("0").unwrap(), "0B");
        assert_eq!(Form::Rate.read("0KiB").unwrap(), "0B");
        assert_eq!(Form::Rate.read("65536").unwrap(), "64KiB");
        let why = Form::Rate.read("8").unwrap_err();
        assert!(why.contains("8MiB") && why.ends_with(", or 0"), "{why}");
    }

    #[test]
    fn an_advertised_address_is_a_host_with_or_without_a_port() {
        let parse = |text: &str| text.parse().map(|h: Host| (h.name, h.port)).ok();
        assert_eq!(parse("log1"), Some(("log1".to_owned(), None)));
        assert_eq!(parse("log1:7400"), Some(("log1".to_owned(), Some(7400))));
        assert_eq!(parse("[::1]:7400"), Some(("[::1]".to_owned(), Some(7400))));
        assert_eq!(parse("::1"), Some(("::1".to_owned(), None)));
        for text in ["", ":7400", "log1:port", "log1:70000", "a b", "log1:0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        for text in ["log1:7400:1", "[::1", "[::1]x", "[log1]:7400", "log1]"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_shown_in_one_way_however_it_was_written() {
        assert_eq!(Form::Size.read("8192 kib").unwrap(), "8MiB");
        assert_eq!(Form::Switch.read("Yes").unwrap(), "true");
        assert_eq!(Form::Timeout.read("60s").unwrap(), "1m");
        assert_eq!(Form::TimeoutOrNever.read("0ms").unwrap(), "0s");
        assert_eq!(Form::TimeoutOrNever.read("60s").unwrap(), "1m");
        assert_eq!(Form::Host.read("[::1]:1").unwrap(), "[::1]:1");
        assert!(Form::Directory.read("data").unwrap().starts_with('/'));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        let wrong = [
            (Form::Directory, "", "must not be empty"),
            (Form::Address, "localhost", "an IP address and a port"),
            (Form::Cores, "0", "a whole number from 1"),
            (Form::Count(7), "-1", "a whole number from 1 to 7"),
            (Form::Count(7), "8", "a whole number from 1 to 7"),
            (Form::Switch, "maybe", "neither true nor false"),
            (Form::Size, "8MB", "is no size"),
            (Form::Timeout, "0s", "between 1s and 365d"),
            (Form::Timeout, "soon", "no duration"),
            (Form::TimeoutOrNever, "1ms", "or 0s for never"),
            (Form::LogFilter, "corelog_node=loud", "no level to log at"),
            (Form::LogFormat, "xml", "text or json"),
        ];
        for (form, text, why) in wrong {
            let said = form.read(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn numbers_and_switches_are_such_in_json_too() {
        assert_eq!(Form::Cores.json("2"), Value::from(2));
        assert_eq!(Form::Switch.json("true"), Value::Bool(true));
        assert_eq!(Form::Size.json("8MiB"), Value::from("8MiB"));
    }
}
