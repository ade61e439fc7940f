//! A conditional change of one row, as DynamoDB's expressions say it.
//!
//! Attributes are set, added to and removed one by one: what others keep in the row stays.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::row::{self, n, s};
use crate::source::kinesis::leases::lease::Checkpoint;

#[derive(Debug, Clone, Default)]
pub(super) struct Update {
    set: Vec<String>,
    add: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    /// Some names are words of the expressions' language, so each one has a placeholder.
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
}

impl Update {
    pub fn set(mut self, name: &str, value: AttributeValue) -> Self {
        self.name(name);
        self.set.push(format!("#{name} = :{name}"));
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// Adds to a number, which is 0 where it is absent.
    pub fn add(mut self, name: &str, addend: AttributeValue) -> Self {
        self.name(name);
        self.add.push(format!("#{name} :{name}"));
        self.values.insert(format!(":{name}"), addend);
        self
    }

    pub fn remove(mut self, name: &str) -> Self {
        self.name(name);
        self.remove.push(format!("#{name}"));
        self
    }

    /// The checkpoint is there, and nothing is being delivered any more.
    pub fn settle(self, checkpoint: Checkpoint) -> Self {
        self.set(row::CHECKPOINT, s(checkpoint))
            .set(row::CHECKPOINT_SUB_SEQUENCE_NUMBER, n(checkpoint.sub_sequence_number()))
            .set(row::OWNER_SWITCHES, n(0))
            .remove(row::PENDING_CHECKPOINT)
            .remove(row::PENDING_CHECKPOINT_SUB_SEQUENCE_NUMBER)
            .remove(row::PENDING_CHECKPOINT_STATE)
    }

    pub fn if_is(mut self, name: &str, value: AttributeValue) -> Self {
        self.name(name);
        self.conditions.push(format!("#{name} = :was_{name}"));
        self.values.insert(format!(":was_{name}"), value);
        self
    }

    pub fn if_absent(mut self, name: &str) -> Self {
        self.name(name);
        self.conditions.push(format!("attribute_not_exists(#{name})"));
        self
    }

    fn name(&mut self, name: &str) {
        self.names.insert(format!("#{name}"), name.to_owned());
    }

    /// `None` where nothing is changed.
    pub fn expression(&self) -> Option<String> {
        let clauses = [("SET", &self.set), ("ADD", &self.add), ("REMOVE", &self.remove)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<_> = clauses.map(|(word, parts)| format!("{word} {}", parts.join(", "))).collect();
        (!clauses.is_empty()).then(|| clauses.join(" "))
    }

    pub fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_says_all_its_parts() {
        let value = || AttributeValue::N(String::from("1"));
        let update = Update::default().if_is("a", value()).if_absent("b").set("a", value()).set("c", value());
        let update = update.add("d", value()).remove("e").remove("f");
        assert_eq!(update.expression().unwrap(), "SET #a = :a, #c = :c ADD #d :d REMOVE #e, #f");
        assert_eq!(update.condition().unwrap(), "#a = :was_a AND attribute_not_exists(#b)");
        let mut names: Vec<_> = update.names.keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["#a", "#b", "#c", "#d", "#e", "#f"]);
        let mut values: Vec<_> = update.values.keys().cloned().collect();
        values.sort();
        assert_eq!(values, [":a", ":c", ":d", ":was_a"]);
        assert_eq!(Update::default().expression(), None);
    }
}
