//! Records end to end in one buffer, with their ends.
//!
//! Invariant: the ends rise, and the last one is not behind the data. Bytes after it belong to the record under way. A
//! record costs no allocation of its own.

use super::Failure;

/// What an emptied buffer keeps, so that one huge record does not hold its memory for ever.
const CAPACITY_KEPT: usize = 1024 * 1024;

/// Records without delimiters, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    data: Vec<u8>,
    ends: Vec<u32>,
}

/// A place in [`Records`] to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    records: usize,
}

impl Records {
    /// What [`Self::into_parts`] gives.
    pub(super) fn of_parts(data: Vec<u8>, ends: Vec<u32>) -> Self {
        Self { data, ends }
    }

    /// Appends to the record under way.
    pub fn append(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Ends the record under way; it may be empty.
    pub fn end(&mut self) -> Result<(), Failure> {
        let end = u32::try_from(self.data.len())
            .map_err(|_| Failure::new("the records of one chunk have grown to more than 4 GiB in processing"))?;
        self.ends.push(end);
        Ok(())
    }

    /// Appends a whole record.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.append(record);
        self.end()
    }

    /// The data, for a processor that writes its record there. Only ever to be appended to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    pub fn mark(&self) -> Mark {
        Mark { bytes: self.data.len(), records: self.ends.len() }
    }

    /// Forgets everything that was appended since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.data.truncate(mark.bytes);
        self.ends.truncate(mark.records);
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
        self.data.shrink_to(CAPACITY_KEPT);
        self.ends.shrink_to(CAPACITY_KEPT / size_of::<u32>());
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records, the one under way included.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.data[start..end])
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// The data and, for each record, the offset behind it.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u32>) {
        (self.data, self.ends)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<u8>),
        End,
        Mark,
        Back,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..5).prop_map(Step::Append),
            Just(Step::End),
            Just(Step::Mark),
            Just(Step::Back),
            Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn records_are_what_a_list_of_lists_is(steps in prop::collection::vec(step(), 0..40)) {
            let (mut records, mut mark) = (Records::default(), Records::default().mark());
            let (mut model, mut marked) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        records.append(&bytes);
                        model.1.extend(bytes);
                    }
                    Step::End => {
                        records.end().unwrap();
                        model.0.push(std::mem::take(&mut model.1));
                    }
                    Step::Mark => (mark, marked) = (records.mark(), model.clone()),
                    Step::Back => {
                        records.truncate(mark);
                        model = marked.clone();
                    }
                    Step::Clear => {
                        records.clear();
                        model = (Vec::new(), Vec::new());
                        (mark, marked) = (records.mark(), model.clone());
                    }
                }
                prop_assert_eq!(records.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), model.0.clone());
                prop_assert_eq!(records.len(), model.0.len());
            }
        }
    }

    #[test]
    fn an_emptied_buffer_gives_a_huge_records_memory_back() {
        let mut records = Records::default();
        records.push(&vec![0; 8 * CAPACITY_KEPT]).unwrap();
        records.clear();
        assert!(records.data.capacity() <= 2 * CAPACITY_KEPT, "{}", records.data.capacity());
    }
}
