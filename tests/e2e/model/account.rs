//! What the destination has to hold in the end: of each line whether it may be lost and whether it may be doubled.

use std::collections::BTreeMap;

use crate::support::Objects;
use crate::support::inventory::Inventory;
use crate::support::lines::LineId;

/// Exactly once, if neither is said.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fate {
    pub may_be_lost: bool,
    pub may_be_doubled: bool,
}

/// How often the head of a line may be there that was never completed.
#[derive(Debug, Default, Clone, Copy)]
struct Fragments {
    least: usize,
    most: usize,
}

#[derive(Debug, Default)]
pub struct Account {
    fates: BTreeMap<LineId, Fate>,
    fragments: BTreeMap<String, Fragments>,
    /// Something was destroyed that had not been delivered.
    pub has_losses: bool,
    /// Bytes of lines that may be doubled: what a copy holds may be read as its own, and then it is also reported as lost with
    /// the original that was truncated.
    pub doubted_bytes: u64,
}

impl Account {
    /// A line is complete on disk: from now on it has to be delivered.
    pub fn add(&mut self, line: &LineId) {
        self.fates.entry(line.clone()).or_default();
    }

    pub fn fate(&mut self, line: &LineId) -> &mut Fate {
        self.fates.get_mut(line).expect("a line is added before anything happens to it")
    }

    pub fn may_be_lost(&mut self, line: &LineId) {
        self.has_losses = true;
        self.fate(line).may_be_lost = true;
    }

    /// Every line that must have been delivered when Hydrant has caught up.
    pub fn certain(&self) -> impl Iterator<Item = &LineId> {
        self.fates.iter().filter(|(_, fate)| !fate.may_be_lost).map(|(line, _)| line)
    }

    pub fn total(&self) -> u64 {
        self.fates.len() as u64
    }

    /// The head of a line that nobody can complete: it may be delivered as it stands.
    pub fn allow_fragment(&mut self, text: &str) {
        self.fragments.entry(text.to_owned()).or_default().most += 1;
    }

    /// The head of a line with which a file ends that is there in the end.
    pub fn demand_fragment(&mut self, text: &str) {
        self.allow_fragment(text);
        self.fragments.entry(text.to_owned()).or_default().least += 1;
    }

    pub fn verify(&self, objects: &Objects) -> Result<(), String> {
        let mut inventory = Inventory::of(objects);
        let mut problems = self.judge_fragments(&mut inventory);
        // A file that is read a second time begins anew in the middle of an object.
        let doubled = |line: &LineId| self.fates.get(line).is_some_and(|fate| fate.may_be_doubled);
        let files: Vec<_> =
            self.fates.keys().filter(|line| doubled(line)).map(|line| (line.log.clone(), line.generation)).collect();
        inventory.disorder.retain(|(_, line, _)| files.binary_search(&(line.log.clone(), line.generation)).is_err());
        problems.extend(inventory.problems());
        problems.extend(inventory.doubled(|line| !doubled(line)));
        for line in inventory.lines.keys().filter(|line| !self.fates.contains_key(line)) {
            problems.push(format!("{line:?} was never written"));
        }
        for line in self.certain().filter(|line| !inventory.lines.contains_key(line)) {
            problems.push(format!("{line:?} is missing"));
        }
        inventory.verdict(&problems, self.total())
    }

    /// Takes out of what is foreign the heads of lines that may be there.
    fn judge_fragments(&self, inventory: &mut Inventory) -> Vec<String> {
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        inventory.foreign.retain(|(_, text)| match self.fragments.get_key_value(text) {
            Some((text, fragments)) => {
                let count = found.entry(text).or_default();
                *count += 1;
                *count > fragments.most
            }
            None => true,
        });
        let lacks = |(text, fragments): &(&String, &Fragments)| {
            found.get(text.as_str()).copied().unwrap_or_default() < fragments.least
        };
        let missing = self.fragments.iter().filter(lacks);
        missing.map(|(text, _)| format!("the head of a line, {text:?}, is missing")).collect()
    }
}

/// The instrument itself: an account that overlooks something would prove nothing.
mod tests {
    use super::{Account, LineId, Objects};
    use crate::support::Scratch;

    fn line(number: u64) -> LineId {
        LineId { log: "app.log".to_owned(), generation: 0, number }
    }

    /// Four lines: certain, may be lost, may be doubled, certain; and the heads `ap` (demanded) and `x` (allowed).
    fn judge(objects: &[&[&str]]) -> Result<(), String> {
        let mut account = Account::default();
        (0..4).for_each(|number| account.add(&line(number)));
        account.may_be_lost(&line(1));
        account.fate(&line(2)).may_be_doubled = true;
        account.demand_fragment("ap");
        account.allow_fragment("x");
        let scratch = Scratch::new();
        for (n, records) in objects.iter().enumerate() {
            let text: String = records.iter().map(|record| format!("{record}\n")).collect();
            std::fs::write(scratch.out().join(n.to_string()), text).expect("an object written");
        }
        account.verify(&Objects::read(&scratch.out()))
    }

    #[test]
    fn the_account_of_the_model_sees_what_may_not_be() {
        let [a, b, c, d] = &[0, 1, 2, 3].map(|number| line(number).text());
        assert_eq!(judge(&[&[a, b, c], &[d, "ap", "x"]]), Ok(()));
        assert_eq!(judge(&[&[a, c], &[c, d, "ap"]]), Ok(()), "one is lost and one doubled that may be");

        let expect = |objects: &[&[&str]], problem: &str| {
            let verdict = judge(objects).expect_err(problem);
            assert!(verdict.contains(problem), "{problem}: {verdict}");
        };
        expect(&[&[c, d, "ap"]], "number: 0 } is missing");
        expect(&[&[a, b, d, "ap"]], "number: 2 } is missing");
        expect(&[&[a, b, c, d, "ap"], &[a]], "1 lines of app.log, file 0, numbers 0 to 0 are in");
        expect(&[&[a, b, c, d, "ap"], &[b]], "numbers 1 to 1 are in");
        expect(&[&[a, b, c, d]], "the head of a line, \"ap\", is missing");
        expect(&[&[a, b, c, d, "ap", "ap"]], "holds what nobody wrote");
        expect(&[&[a, b, c, d, "ap", "x", "x"]], "holds what nobody wrote");
        expect(&[&[a, b, c, &d[..20], "ap"]], "holds what nobody wrote");
        expect(&[&[a, b, c, d, "ap", &line(4).text()]], "was never written");
    }
}
