//! How the settings of a server fit together, without a look at the machine.

use corelog_node::StartError;

use super::node_config;
use crate::config::{Config, Key, Wrong};
use crate::exit::sentence;

/// All that does not.
pub(crate) fn faults(config: &Config) -> Vec<Wrong> {
    let wrong = |keys: &[Key], why: String| Wrong {
        keys: keys.to_vec(),
        why,
    };
    let mut faults = match node_config(config) {
        Ok(node) => {
            let faults = node.faults().into_iter();
            faults
                .map(|fault| wrong(keys(&fault), fault.to_string()))
                .collect()
        }
        Err(error) => vec![wrong(&[], sentence(&error))],
    };
    let (admin, listen) = (config.admin, config.listen);
    if !config.is_insecure && !admin.ip().is_loopback() {
        let why = format!(
            "--admin {admin} can be reached by others and asks nobody who they are; choose a loopback \
             address, or say --insecure"
        );
        faults.push(wrong(&[Key::Admin, Key::Insecure], why));
    }
    let first = u32::from(listen.port());
    let own = first..=first + u32::from(config.cores);
    let is_same =
        admin.ip() == listen.ip() || admin.ip().is_unspecified() || listen.ip().is_unspecified();
    if listen.port() != 0 && is_same && own.contains(&admin.port().into()) {
        let why = format!(
            "--admin {admin} is one of the ports {first} to {} that the shared address and {} cores \
             listen on; choose another",
            own.end(),
            config.cores
        );
        faults.push(wrong(&[Key::Admin, Key::Listen, Key::Cores], why));
    }
    faults
}

/// The settings that a fault of a node's configuration is about.
const fn keys(fault: &StartError) -> &'static [Key] {
    match fault {
        StartError::NotLoopback { .. } => &[Key::Listen, Key::Insecure],
        StartError::NothingToAdvertise { .. } => &[Key::Listen, Key::Advertise],
        StartError::NoRoomForPorts { .. } => &[Key::Listen, Key::Cores],
        StartError::NoRoomToAdvertise { .. } => &[Key::Advertise, Key::Cores],
        StartError::Memory { .. } => &[Key::TrafficMemory, Key::TailMemory],
        _ => &[],
    }
}
