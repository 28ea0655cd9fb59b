//! The environment: a variable per setting, and none that only looks like one.

use std::ffi::OsString;
use std::path::PathBuf;

use super::key::{Key, PREFIX};
use super::origin::Origin;
use super::{Value, Wrong};

/// Names the file, as `--config` does.
const FILE: &str = "CONFIG";

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) file: Option<PathBuf>,
    pub(super) settings: Vec<(Key, Value)>,
    /// Variables that are none of ours, or whose values cannot be meant.
    pub(super) wrong: Vec<Wrong>,
}

impl Environment {
    /// Reads all variables that begin as ours do. An empty one says nothing.
    pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut read = Self::default();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if rest == FILE {
                read.file = Some(PathBuf::from(value)).filter(|file| !file.as_os_str().is_empty());
                continue;
            }
            match setting(rest, &value) {
                Ok(said) => read.settings.extend(said),
                Err(why) => read.wrong.push(Wrong {
                    keys: Key::nearest(rest).into_iter().collect(),
                    why: format!("{name}{why}"),
                }),
            }
        }
        read.wrong.sort_by(|one, other| one.why.cmp(&other.why));
        read
    }
}

fn setting(name: &str, value: &OsString) -> Result<Option<(Key, Value)>, String> {
    let Some(key) = key(name) else {
        return Err(match Key::nearest(name) {
            Some(key) => {
                let meant = key.variable();
                format!(" is no setting of a server: did you mean {meant}? If not, unset it")
            }
            None => " is no setting of a server: unset it".to_owned(),
        });
    };
    let Some(text) = value.to_str() else {
        return Err(" is not UTF-8".to_owned());
    };
    if text.is_empty() {
        return Ok(None);
    }
    let text = key
        .form()
        .read(text)
        .map_err(|why| format!("={text}: {why}"))?;
    let origin = Origin::Environment;
    Ok(Some((key, Value { text, origin })))
}

fn key(name: &str) -> Option<Key> {
    Key::all().find(|key| key.variable().strip_prefix(PREFIX) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        Environment::read(variables.iter().map(pair))
    }

    #[test]
    fn variables_of_others_and_empty_ones_say_nothing() {
        let read = read(&[
            ("PATH", "/bin"),
            ("CORELOG_SERVER", "log1:7400"),
            ("CORELOG_NODE_ADVERTISE", ""),
            ("CORELOG_NODE_CONFIG", "/etc/corelog.toml"),
            ("CORELOG_NODE_CORES", "3"),
        ]);
        assert_eq!(read.wrong, []);
        assert_eq!(read.file, Some(PathBuf::from("/etc/corelog.toml")));
        let [(Key::Cores, value)] = read.settings.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(value.text, "3");
    }

    #[test]
    fn a_variable_that_only_looks_like_ours_is_wrong() {
        let read = read(&[
            ("CORELOG_NODE_LISTN", "x"),
            ("CORELOG_NODE_CORES", "0"),
            ("CORELOG_NODE_SERVICE_HOST", "10.0.0.1"),
        ]);
        let [cores, listen, host] = &read.wrong[..] else {
            panic!("{read:?}");
        };
        assert!(cores.why.contains("CORELOG_NODE_CORES=0: "), "{cores:?}");
        assert!(
            listen.why.contains("did you mean CORELOG_NODE_LISTEN?"),
            "{listen:?}"
        );
        assert!(
            host.why.contains("CORELOG_NODE_SERVICE_HOST is no"),
            "{host:?}"
        );
        let keys = [cores, listen, host].map(|wrong| &wrong.keys[..]);
        assert_eq!(keys, [&[Key::Cores][..], &[Key::Listen], &[]]);
    }
}
