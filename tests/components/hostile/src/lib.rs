//! A transform component that misbehaves as its `config` says, for the tests of the host.
//!
//! Always true: what it does depends on its config, its records and what the host tells it, and on nothing else; a record
//! that it is not told to misbehave for goes on unchanged.
//!
//! `config: { transform: trap, when: poison }`: `transform` is one of [`Behaviour`], `when` a text that a record has to
//! hold for it, `init` what `init` does; `amount` says how much, where that makes sense.

mod behaviour;
mod surroundings;

use std::sync::OnceLock;

use serde::Deserialize;

use behaviour::Behaviour;

wit_bindgen::generate!({ path: "../../../transforms/wit", world: "transform" });

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    init: Init,
    transform: Behaviour,
    /// What a record must hold for `transform` to be done to it; anything does if absent.
    when: Option<String>,
    /// Bytes, times, records or seconds.
    amount: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Init {
    #[default]
    Ok,
    /// An error of so many bytes, or "no, thank you".
    Error,
    Loop,
    Trap,
    Memory,
    Log,
    Sleep,
}

static CONFIG: OnceLock<Config> = OnceLock::new();

struct Hostile;

impl Guest for Hostile {
    fn init(config: String) -> Result<(), String> {
        let config: Option<Config> = serde_json::from_str(&config).map_err(|error| error.to_string())?;
        let config = CONFIG.get_or_init(|| config.unwrap_or_default());
        match config.init {
            Init::Ok => {}
            Init::Error if config.amount > 0 => return Err("x".repeat(config.amount as usize)),
            Init::Error => return Err(String::from("no, thank you")),
            Init::Loop => behaviour::spin(),
            Init::Trap => panic!("init traps"),
            Init::Memory => behaviour::eat_memory(),
            Init::Log => behaviour::log(config.amount),
            Init::Sleep => behaviour::sleep(config.amount),
        }
        Ok(())
    }

    fn transform(records: Vec<Input>) -> Vec<Outcome> {
        let Some(config) = CONFIG.get() else { panic!("`init` was not called") };
        let is_meant = |record: &Input| config.when.as_ref().is_none_or(|when| holds(&record.data, when.as_bytes()));
        if !records.iter().any(is_meant) {
            return records.into_iter().map(behaviour::pass).collect();
        }
        config.transform.transform(records, is_meant, config.amount)
    }
}

fn holds(data: &[u8], part: &[u8]) -> bool {
    part.is_empty() || data.windows(part.len()).any(|window| window == part)
}

export!(Hostile);
