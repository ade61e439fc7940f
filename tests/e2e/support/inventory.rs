//! Every record of every object, told apart: whole lines, and what nobody wrote.

use std::collections::BTreeMap;

use super::lines::LineId;
use super::objects::Objects;

/// A log and which of its files.
type LogFile = (String, u32);

/// What all objects hold together.
pub struct Inventory<'a> {
    /// The objects that hold a line, as often as they hold it.
    pub lines: BTreeMap<LineId, Vec<&'a str>>,
    /// Records that are no whole line, with their object.
    pub foreign: Vec<(&'a str, String)>,
    /// A line that stands behind the number of a later one of its file, in one object.
    pub disorder: Vec<(&'a str, LineId, u64)>,
    /// Objects that end within a record.
    pub cut: Vec<&'a str>,
}

impl<'a> Inventory<'a> {
    pub fn of(objects: &'a Objects) -> Self {
        let (lines, foreign, disorder, cut) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        let mut inventory = Self { lines, foreign, disorder, cut };
        objects.iter().for_each(|(key, data)| inventory.add(key, data));
        inventory
    }

    fn add(&mut self, key: &'a str, data: &[u8]) {
        let mut last: BTreeMap<LogFile, u64> = BTreeMap::new();
        if data.last() != Some(&b'\n') {
            self.cut.push(key);
        }
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            let Some(id) = LineId::parse(&text) else {
                self.foreign.push((key, text.into_owned()));
                continue;
            };
            if let Some(before) = last.insert((id.log.clone(), id.generation), id.number)
                && before >= id.number
            {
                self.disorder.push((key, id.clone(), before));
            }
            self.lines.entry(id).or_default().push(key);
        }
    }

    /// What is wrong whatever was written: cut, foreign and disordered records.
    pub fn problems(&self) -> Vec<String> {
        let cut = self.cut.iter().map(|key| format!("{key} does not end with a whole line"));
        let foreign = self.foreign.iter().map(|(key, text)| format!("{key} holds what nobody wrote: {text:?}"));
        let disorder =
            self.disorder.iter().map(|(key, id, before)| format!("{key} holds {id:?} after number {before}"));
        cut.chain(foreign).chain(disorder).collect()
    }

    /// Of the lines that are chosen those that are there more than once, by file and by objects.
    pub fn doubled(&self, chosen: impl Fn(&LineId) -> bool) -> Vec<String> {
        let mut doubled: BTreeMap<(&str, u32, &str, &str), Vec<u64>> = BTreeMap::new();
        for (id, keys) in self.lines.iter().filter(|(id, _)| chosen(id)) {
            for pair in keys.windows(2) {
                doubled.entry((&id.log, id.generation, pair[0], pair[1])).or_default().push(id.number);
            }
        }
        let tell = |((log, generation, one, other), numbers): ((&str, u32, &str, &str), Vec<u64>)| {
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            let what = format!("{} lines of {log}, file {generation}, numbers {first} to {last}", numbers.len());
            format!("{what} are in {one} and in {other}")
        };
        doubled.into_iter().map(tell).collect()
    }

    /// The first problems as one text, with how much was found of `total` lines.
    pub fn verdict(&self, problems: &[String], total: u64) -> Result<(), String> {
        if problems.is_empty() {
            return Ok(());
        }
        let short = |problem: &String| problem.chars().take(400).collect::<String>();
        let shown = problems.iter().take(20).map(short).collect::<Vec<_>>().join("\n");
        Err(format!("{} problems, {} lines of {total} found:\n{shown}", problems.len(), self.lines.len()))
    }
}
