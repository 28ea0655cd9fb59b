//! `corelog config`: what a server would be told, without one.

mod check;
mod show;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::{Key, Settings};
use crate::exit::Exit;

/// Check a server's configuration, or show what holds and who said so.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Check(check::Args),
    Show(Box<show::Args>),
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Check(args) => check::run(args),
        Action::Show(args) => show::run(args),
    }
}

const HEADERS: [&str; 4] = ["KEY", "VALUE", "ORIGIN", "PLACE"];

fn row(settings: &Settings, key: Key) -> Vec<String> {
    let Some(value) = settings.get(key) else {
        return vec![key.name(), "-".to_owned(), "default".to_owned()];
    };
    let place = value.origin.place(key, settings.file());
    vec![
        key.name(),
        value.text.clone(),
        value.origin.as_str().to_owned(),
        place.unwrap_or_default(),
    ]
}

fn object(settings: &Settings, key: Key) -> Value {
    let value = settings.get(key);
    json!({
        "key": key.name(),
        "value": value.map(|value| key.form().json(&value.text)),
        "origin": value.map_or("default", |value| value.origin.as_str()),
        "place": value.and_then(|value| value.origin.place(key, settings.file())),
    })
}

/// Those settings as one object.
pub(crate) fn objects(settings: &Settings, keys: impl IntoIterator<Item = Key>) -> Value {
    let objects = keys.into_iter().map(|key| object(settings, key));
    json!({
        "file": settings.file().map(|file| file.display().to_string()),
        "settings": objects.collect::<Vec<_>>(),
    })
}
