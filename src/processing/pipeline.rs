//! The processors of a delivery stream, in order.
//!
//! Invariant: each record a step is given leaves it as the step's output, as itself (`on_error: pass`), or as a failure
//! with the bytes that the step had got. A failure of one leaves the other outputs of the same source record alone.

use super::{ConfigError, Failure, OnError, Origin, Processor, Records, StepConfig, Surroundings};

/// What one source record may grow to in one step, in bytes: bounds memory whatever the records do.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The processors of a delivery stream, in order; without any, records stay as they are.
pub struct Pipeline {
    steps: Vec<Step>,
}

struct Step {
    /// As it is called in the configuration; failures begin with it.
    name: &'static str,
    processor: Box<dyn Processor>,
    on_error: OnError,
}

/// Room for what lies between two processors; one for each thread, used again for each record.
#[derive(Default)]
pub struct Scratch {
    current: Records,
    next: Records,
}

impl Pipeline {
    /// Whether records pass as they are.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Builds the processors; an error comes with the number of its step, from 0.
    pub fn new(configs: Vec<StepConfig>, surroundings: &Surroundings<'_>) -> Result<Self, (usize, ConfigError)> {
        let build = |(index, step): (usize, StepConfig)| {
            let name = step.processor.name();
            let processor = step.processor.build(surroundings).map_err(|error| (index, error))?;
            Ok((name, processor, step.on_error))
        };
        let processors = configs.into_iter().enumerate().map(build).collect::<Result<_, _>>()?;
        Ok(Self::of(processors))
    }

    /// A pipeline of processors that are already built.
    fn of(processors: Vec<(&'static str, Box<dyn Processor>, OnError)>) -> Self {
        let step = |(name, processor, on_error)| Step { name, processor, on_error };
        Self { steps: processors.into_iter().map(step).collect() }
    }

    /// Runs one record through all of them. Outputs that failed on the way are given to `failed` with the bytes that the
    /// failing processor had got.
    pub fn run(
        &self,
        record: &[u8],
        origin: &Origin<'_>,
        scratch: &mut Scratch,
        out: &mut Records,
        failed: &mut Vec<(Vec<u8>, Failure)>,
    ) {
        let Some((last, before)) = self.steps.split_last() else {
            let start = out.mark();
            if let Err(failure) = out.push(record) {
                out.truncate(start);
                failed.push((record.to_vec(), failure));
            }
            return;
        };
        let Some((first, between)) = before.split_first() else {
            return last.run_all(std::iter::once(record), origin, out, failed);
        };
        let Scratch { current, next } = scratch;
        current.clear();
        first.run_all(std::iter::once(record), origin, current, failed);
        for step in between {
            next.clear();
            step.run_all(current.iter(), origin, next, failed);
            std::mem::swap(current, next);
        }
        last.run_all(current.iter(), origin, out, failed);
    }
}

impl Step {
    fn run_all<'r>(
        &self,
        records: impl Iterator<Item = &'r [u8]>,
        origin: &Origin<'_>,
        out: &mut Records,
        failed: &mut Vec<(Vec<u8>, Failure)>,
    ) {
        let bytes_before = out.bytes();
        for record in records {
            let (start, failed_before) = (out.mark(), failed.len());
            if let Err(failure) = self.run(record, origin, bytes_before, out, failed) {
                out.truncate(start);
                failed.truncate(failed_before);
                failed.push((record.to_vec(), self.named(failure)));
            }
        }
    }

    fn named(&self, failure: Failure) -> Failure {
        Failure::new(format!("`{}`: {}", self.name, failure.message))
    }

    fn run(
        &self,
        record: &[u8],
        origin: &Origin<'_>,
        bytes_before: usize,
        out: &mut Records,
        failed: &mut Vec<(Vec<u8>, Failure)>,
    ) -> Result<(), Failure> {
        let (start, failed_before) = (out.mark(), failed.len());
        let mut refuse = |part: &[u8], failure: Failure, out: &mut Records| match self.on_error {
            OnError::ErrorOutput => {
                failed.push((part.to_vec(), self.named(failure)));
                Ok(())
            }
            OnError::Pass => out.push(part),
        };
        if let Err(failure) = self.processor.process_parts(record, origin, out, &mut refuse) {
            out.truncate(start);
            failed.truncate(failed_before);
            match self.on_error {
                OnError::ErrorOutput => return Err(failure),
                OnError::Pass => out.push(record)?,
            }
        }
        if out.bytes() - bytes_before > OUTPUT_BYTES_MAX {
            let limit = OUTPUT_BYTES_MAX >> 20;
            return Err(Failure::new(format!("one source record became more than {limit} MB in processing")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Refuse;
    use super::super::testing::origin;
    use super::*;

    /// Leaves half of what it appends behind when it fails, as any processor may.
    struct Split;

    impl Processor for Split {
        fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
            for part in record.split(|&byte| byte == b',').filter(|part| !part.is_empty()) {
                out.append(part);
                if part.contains(&b'!') {
                    return Err(Failure::new("an exclamation mark"));
                }
                out.end()?;
            }
            Ok(())
        }
    }

    struct Refuser(u8);

    impl Processor for Refuser {
        fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
            if record.contains(&self.0) { Err(Failure::new("refused")) } else { out.push(&[record, b"."].concat()) }
        }
    }

    /// Becomes a record of so many MB as its first digit says.
    struct Grow;

    impl Processor for Grow {
        fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
            out.push(&vec![b'x'; usize::from(record[0] - b'0') << 23])
        }
    }

    fn run(pipeline: &Pipeline, record: &[u8]) -> (Vec<String>, Vec<(String, String)>) {
        let (mut out, mut failed) = (Records::default(), Vec::new());
        out.push(b"an earlier record").unwrap();
        pipeline.run(record, &origin(), &mut Scratch::default(), &mut out, &mut failed);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            out.iter().skip(1).map(text).collect(),
            failed.into_iter().map(|(bytes, failure)| (text(&bytes), failure.message)).collect(),
        )
    }

    fn steps(on_error: [OnError; 3]) -> Pipeline {
        let [split, first, second] = on_error;
        Pipeline::of(vec![
            ("split", Box::new(Split), split),
            ("no_a", Box::new(Refuser(b'a')), first),
            ("no_b", Box::new(Refuser(b'b')), second),
        ])
    }

    const ERROR_OUTPUT: [OnError; 3] = [OnError::ErrorOutput; 3];

    #[test]
    fn without_processors_a_record_stays_as_it_is() {
        assert_eq!(run(&Pipeline::of(Vec::new()), b"a,b"), (vec!["a,b".into()], vec![]));
    }

    #[test]
    fn one_output_may_fail_while_others_go_on() {
        let (out, failed) = run(&steps(ERROR_OUTPUT), b"x,a,y,b,z");
        assert_eq!(out, ["x..", "y..", "z.."]);
        assert_eq!(failed, [("a".into(), "`no_a`: refused".into()), ("b.".into(), "`no_b`: refused".into())]);
    }

    #[test]
    fn a_failure_half_way_leaves_nothing_in_the_output() {
        let (out, failed) = run(&steps(ERROR_OUTPUT), b"x,y!,z");
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(failed, [("x,y!,z".into(), "`split`: an exclamation mark".into())]);
    }

    #[test]
    fn pass_hands_the_record_on_unchanged() {
        let (out, failed) = run(&steps([OnError::Pass; 3]), b"x,a!");
        assert_eq!((out, failed), (vec!["x,a!.".into()], vec![]));
        let (out, failed) = run(&steps([OnError::ErrorOutput, OnError::Pass, OnError::ErrorOutput]), b"x,a,b");
        assert_eq!(out, ["x..", "a."]);
        assert_eq!(failed, [("b.".into(), "`no_b`: refused".into())]);
    }

    /// Refuses each part with an exclamation mark, and the whole where there is a question mark.
    struct SplitInParts;

    impl Processor for SplitInParts {
        fn process(&self, record: &[u8], origin: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
            self.process_parts(record, origin, out, &mut |_, failure, _| Err(failure))
        }

        fn process_parts(
            &self,
            record: &[u8],
            _: &Origin<'_>,
            out: &mut Records,
            refuse: &mut Refuse<'_>,
        ) -> Result<(), Failure> {
            for part in record.split(|&byte| byte == b',') {
                match part {
                    [b'?', ..] => return Err(Failure::new("a question mark")),
                    [b'!', ..] => refuse(part, Failure::new("an exclamation mark"), out)?,
                    _ => out.push(part)?,
                }
            }
            Ok(())
        }
    }

    #[test]
    fn a_part_fails_alone_or_goes_on_in_its_place() {
        let pipeline = |on_error| {
            Pipeline::of(vec![
                ("parts", Box::new(SplitInParts) as _, on_error),
                ("no_a", Box::new(Refuser(b'a')), on_error),
            ])
        };
        let failed = |part: &str, reason: &str| (part.to_owned(), reason.to_owned());
        let (to_error_output, pass) = (pipeline(OnError::ErrorOutput), pipeline(OnError::Pass));
        let expected = (vec!["x.".into(), "y.".into()], vec![failed("!", "`parts`: an exclamation mark")]);
        assert_eq!(run(&to_error_output, b"x,!,y"), expected);
        let whole = vec![failed("x,!,?", "`parts`: a question mark")];
        assert_eq!(run(&to_error_output, b"x,!,?"), (vec![], whole));
        assert_eq!(run(&pass, b"x,!,y"), (vec!["x.".into(), "!.".into(), "y.".into()], vec![]));
        assert_eq!(run(&pass, b"x,!,?"), (vec!["x,!,?.".into()], vec![]));
    }

    #[test]
    fn a_record_that_becomes_nothing_is_neither_output_nor_failure() {
        assert_eq!(run(&steps(ERROR_OUTPUT), b",,"), (vec![], vec![]));
    }

    #[test]
    fn a_source_record_that_grows_over_the_limit_fails_from_there_on() {
        let pipeline = Pipeline::of(vec![
            ("split", Box::new(Split) as Box<dyn Processor>, OnError::ErrorOutput),
            ("grow", Box::new(Grow), OnError::ErrorOutput),
        ]);
        let (out, failed) = run(&pipeline, b"4,4,5,0");
        assert_eq!(out.iter().map(String::len).collect::<Vec<_>>(), [1 << 25, 1 << 25, 0]);
        assert_eq!(failed, [("5".into(), "`grow`: one source record became more than 64 MB in processing".into())]);
    }

    proptest! {
        #[test]
        fn every_part_is_an_output_or_a_failure(parts in prop::collection::vec("[abxy]{1,3}", 1..20)) {
            let (out, failed) = run(&steps(ERROR_OUTPUT), parts.join(",").as_bytes());
            let expected: Vec<_> = parts.iter().filter(|part| !part.contains(['a', 'b'])).map(|part| format!("{part}..")).collect();
            prop_assert_eq!(&out, &expected);
            prop_assert_eq!(out.len() + failed.len(), parts.len());
        }
    }
}
