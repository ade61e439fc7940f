//! What was read before is read again in the same batches.

use super::*;
use crate::batches::{Batches, ToldOf};
use crate::record::PositionRange;

/// (start, end, number of records) of everything that can be read now.
fn chunks(tail: &mut Tail, chunk: u64, file_end: FileEnd) -> Vec<(u64, u64, usize)> {
    let mut chunks = Vec::new();
    assert!(tail.look().unwrap());
    loop {
        let granted = tail.next_size(chunk);
        match tail.read(chunk, file_end).unwrap() {
            Read::Records { start, end, data, ends, .. } => {
                assert!(data.len() as u64 <= granted.max(tail.cutting.max_record + 1), "{} for {granted}", data.len());
                chunks.push((start, end, ends.len()));
            }
            Read::Oversize { start, end, .. } => chunks.push((start, end, 0)),
            Read::Skipped { .. } | Read::Searching => {}
            Read::Nothing => return chunks,
        }
    }
}

fn told(chunks: &[(u64, u64, usize)]) -> Told {
    let mut batches = Batches::default();
    for &(start, end, _) in chunks {
        let range = PositionRange::new(start, end);
        batches.add(PartitionId(1), Batch { range, arrival_ms: start as i64, failed_ms: None });
    }
    let mut told_of = ToldOf::default();
    told_of.add(&batches);
    told_of.take(PartitionId(1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn in_the_same_batches_and_with_their_arrival(
        pieces in proptest::collection::vec("[ab;]{0,12}", 1..20),
        rule in rule(),
        header_lines in 0u32..2,
        (max, chunk, more) in (1u64..24, 1u64..60, 0u64..60),
        torn in proptest::collection::vec((0.0f64..1.0, 0u8..6), 1..6),
        // Which of the batches were journalled, and at which of their records deliveries ended.
        (kept, held) in (proptest::collection::vec(any::<bool>(), 60), proptest::collection::vec(any::<bool>(), 60)),
    ) {
        let content = pieces.concat().into_bytes();
        let mut config = FileSourceConfig { multiline: rule.multiline(), ..config(";", max) };
        config.skip_header_lines = header_lines;
        let file = tempfile::tempfile().unwrap();
        let mut first = tail(&file, 0, Vec::new(), &config);
        let (mut read, mut ends, mut written) = (Vec::new(), Vec::new(), 0);
        for (end, quiet) in writes(&torn.iter().map(|(part, _)| *part).collect::<Vec<_>>(), content.len()).into_iter().zip(torn.iter().map(|(_, end)| *end).chain([1])) {
            file.write_all_at(&content[written..end], written as u64).unwrap();
            written = end;
            let file_end = match quiet { 0 => FileEnd::Final, 1 => FileEnd::Quiet, _ => FileEnd::Open };
            read.extend(chunks(&mut first, chunk, file_end));
            ends.push(read.last().map_or(0, |&(_, end, _)| end));
        }
        let kept_chunks: Vec<_> = read.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(chunk, _)| *chunk).collect();
        // What is journalled of a batch keeps its ends, and those of some records in it.
        let mut records = tail(&file, 0, read.iter().map(|&(_, end, _)| end).collect(), &config);
        let all = drain(&mut records, 4096, FileEnd::Open);
        let inner = all.iter().zip(held.iter().cycle()).filter(|(_, held)| **held).map(|((_, end, _, _), _)| *end);
        let cuts: Vec<_> = kept_chunks.iter().flat_map(|&(start, end, _)| [start, end]).chain(inner).collect();

        let start = kept_chunks.first().map_or(0, |&(start, _, _)| start);
        let mut again = tail(&file, start, cuts, &config);
        again.told = told(&kept_chunks);
        let (mut seen, mut found) = (Vec::new(), chunk + more);
        // With several lines to a record it takes the same window to see where one ends.
        if rule_is_each_line(rule) { found = 1 + more; }
        assert!(again.look().unwrap());
        loop {
            match again.read(found, FileEnd::Open).unwrap() {
                read @ (Read::Records { .. } | Read::Oversize { .. }) => {
                    let told = again.batch_of(&read);
                    if let Read::Records { start, end, ends, .. } = &read {
                        seen.push(((*start, *end, ends.len()), told));
                    } else if let Read::Oversize { start, end, .. } = &read {
                        seen.push(((*start, *end, 0), told));
                    }
                }
                Read::Skipped { .. } | Read::Searching => {}
                Read::Nothing => break,
            }
        }
        for chunk in &kept_chunks {
            let told = seen.iter().find(|(seen, _)| seen == chunk).and_then(|(_, told)| *told);
            prop_assert!(told.is_some_and(|told| told.arrival_ms == chunk.0 as i64), "{chunk:?} in {seen:?} of {read:?}");
        }
    }

    /// Whatever is told, records are cut as they are without it.
    #[test]
    fn wrong_batches_change_no_record(
        pieces in proptest::collection::vec("[ab;]{0,12}", 0..20),
        rule in rule(),
        (max, chunk) in (1u64..24, 1u64..60),
        cuts in proptest::collection::vec(0u64..160, 0..4),
        wrong in proptest::collection::vec((0u64..12, 1u64..40), 0..12),
    ) {
        let content = pieces.concat().into_bytes();
        let config = FileSourceConfig { multiline: rule.multiline(), ..config(";", max) };
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content, 0).unwrap();
        let cuts: Vec<_> = cuts.into_iter().filter(|&cut| cut <= content.len() as u64).collect();
        let plain = drain(&mut tail(&file, 0, cuts.clone(), &config), chunk, FileEnd::Final);
        let mut at = 0;
        let wrong: Vec<_> = wrong.iter().map(|&(gap, length)| { at += gap + length; (at - length, at, 0) }).collect();
        let mut again = tail(&file, 0, cuts, &config);
        again.told = told(&wrong);
        let told = drain(&mut again, chunk, FileEnd::Final);
        let records = |list: Vec<Record>| list.into_iter().map(|(start, end, data, _)| (start, end, data)).collect::<Vec<_>>();
        prop_assert_eq!(records(told), records(plain));
    }
}

fn rule_is_each_line(rule: Rule) -> bool {
    matches!(rule, Rule::EachLine)
}
