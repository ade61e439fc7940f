use proptest::prelude::*;

use super::*;

/// Hash keys play no part where there is a lineage.
fn shard(id: &str, parents: &[&str], starting: u64, is_open: bool) -> ListedShard {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    let starting = starting.to_string().parse().unwrap();
    ListedShard { id: id.to_owned(), parents, hash_keys: HashKeyRange::ALL, starting, is_open }
}

/// ```text
/// 0 1 2 3 4   5    until 102
/// \ / \ / |   |
///  6   7  4   5    from 103 to 205
///   \ /   |  / \
///    8    4 9  10  from 206, open
/// ```
fn tree() -> Vec<ListedShard> {
    let root = |id: &str| shard(id, &[], 1, id == "4");
    let mut shards: Vec<_> = ["0", "1", "2", "3", "4", "5"].map(root).into();
    shards.extend([shard("6", &["0", "1"], 103, false), shard("7", &["2", "3"], 103, false)]);
    shards.extend([shard("8", &["6", "7"], 206, true), shard("9", &["5"], 206, true), shard("10", &["5"], 206, true)]);
    shards
}

fn created(shards: &[ListedShard], leases: &[&str], initial: Checkpoint) -> Vec<String> {
    let leases = leases.iter().copied().collect();
    let missing = missing_leases(shards, &leases, initial);
    assert!(missing.iter().all(|lease| lease.checkpoint == initial && lease.owner.is_none()));
    missing.iter().map(|lease| lease.key.to_string()).collect()
}

#[test]
fn the_kcls_example_creates_what_the_kcl_does() {
    let leases = ["4", "5", "7"];
    assert_eq!(created(&tree(), &leases, Checkpoint::Latest), ["6"]);
    assert_eq!(created(&tree(), &leases, Checkpoint::TrimHorizon), ["0", "1"]);
    assert_eq!(created(&tree(), &leases, Checkpoint::AtTimestamp), ["0", "1"]);
}

#[test]
fn without_leased_ancestors_the_open_shards_or_the_oldest_are_created() {
    assert_eq!(created(&tree(), &["4"], Checkpoint::Latest), ["10", "8", "9"]);
    assert_eq!(created(&tree(), &["4"], Checkpoint::TrimHorizon), ["0", "1", "2", "3", "5"]);
    assert_eq!(created(&tree(), &["4", "8", "9", "10"], Checkpoint::TrimHorizon), [""; 0]);
    assert_eq!(created(&tree(), &["0", "1", "2", "3", "4", "5"], Checkpoint::Latest), [""; 0]);
}

#[test]
fn an_expired_parent_is_not_asked_for() {
    let shards: Vec<_> =
        tree().into_iter().filter(|shard| !["0", "1", "2", "3"].contains(&shard.id.as_str())).collect();
    assert_eq!(created(&shards, &["4", "5"], Checkpoint::TrimHorizon), ["6", "7"]);
}

#[test]
fn the_child_of_an_open_shard_waits_for_the_next_listing() {
    let shards = [shard("0", &[], 1, true), shard("1", &["0"], 2, true), shard("2", &[], 1, true)];
    assert_eq!(created(&shards, &["2"], Checkpoint::Latest), ["0"]);
}

#[test]
fn an_empty_table_needs_all_hash_keys() {
    let half = u128::MAX / 2;
    let range =
        |id: &str, start, end| ListedShard { hash_keys: HashKeyRange { start, end }, ..shard(id, &[], 1, true) };
    let whole = [range("b", half + 1, u128::MAX), range("a", 0, half)];
    let leases = first_leases(&whole, Checkpoint::Latest).unwrap();
    assert_eq!(leases.iter().map(|lease| &*lease.key).collect::<Vec<_>>(), ["a", "b"]);
    assert!(leases.iter().all(|lease| lease.checkpoint == Checkpoint::Latest && lease.hash_keys.is_some()));
    assert_eq!(first_leases(&whole[..1], Checkpoint::Latest), None);
    assert_eq!(first_leases(&[range("a", 0, half), range("b", half, u128::MAX)], Checkpoint::Latest), None);
    assert_eq!(first_leases(&[range("a", 0, half), range("b", half + 2, u128::MAX)], Checkpoint::Latest), None);
    assert_eq!(first_leases(&[], Checkpoint::Latest), None);
}

fn child(id: &str, parents: &[&str]) -> ChildShard {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    ChildShard { id: id.to_owned(), parents, hash_keys: HashKeyRange::ALL }
}

#[test]
fn children_begin_at_trim_horizon_once() {
    let children = [child("1", &["0"]), child("2", &["0"])];
    let leases = child_leases(&children, |key| key == "0" || key == "2", |_| true).unwrap();
    assert_eq!(
        leases.iter().map(|lease| (&*lease.key, lease.checkpoint)).collect::<Vec<_>>(),
        [("1", Checkpoint::TrimHorizon)]
    );
    assert!(leases[0].parents.contains("0"));
}

#[test]
fn a_merge_waits_for_the_lease_of_its_other_parent_unless_it_has_expired() {
    let merged = [child("2", &["0", "1"])];
    assert!(child_leases(&merged, |key| key == "0", |_| true).is_none());
    assert_eq!(child_leases(&merged, |key| key == "0", |id| id != "1").unwrap().len(), 1);
    assert_eq!(child_leases(&merged, |key| key != "2", |_| true).unwrap().len(), 1);
    assert_eq!(child_leases(&merged, |_| false, |_| true).unwrap().len(), 1);
}

#[test]
fn an_ended_lease_goes_when_its_children_have_begun_and_its_parents_have_gone() {
    let at = Checkpoint::At(SequenceNumber::ZERO, 0);
    let lease = |key: &str, parents: &[&str], children: &[&str], checkpoint| {
        let names = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        Lease { parents: names(parents), children: names(children), ..Lease::new(key, checkpoint) }
    };
    let finished = |leases: &[Lease]| -> Vec<String> {
        finished_leases(leases, |id| id != "expired").iter().map(|lease| lease.key.to_string()).collect()
    };
    let parent = lease("0", &[], &["1", "2"], Checkpoint::ShardEnd);
    let (one, other) = (lease("1", &["0"], &[], at), lease("2", &["0"], &[], Checkpoint::TrimHorizon));
    assert_eq!(finished(&[parent.clone(), one.clone(), other.clone()]), [""; 0]);
    assert_eq!(finished(&[parent.clone(), one.clone()]), [""; 0]);
    assert_eq!(finished(&[parent.clone(), one, Lease { checkpoint: at, ..other }]), ["0"]);
    let middle = lease("1", &["0"], &["3"], Checkpoint::ShardEnd);
    assert_eq!(finished(&[parent, middle.clone(), lease("3", &["1"], &[], at)]), [""; 0]);
    assert_eq!(finished(&[middle, lease("3", &["1"], &[], at)]), ["1"]);
    assert_eq!(finished(&[lease("0", &[], &[], Checkpoint::ShardEnd)]), [""; 0]);
    assert_eq!(
        finished(&[lease("expired", &[], &[], Checkpoint::ShardEnd), lease("expired", &[], &[], at)]),
        ["expired"]
    );
}

/// A lineage of generations: each shard splits, merges with its neighbour, or stays.
fn lineage() -> impl Strategy<Value = Vec<ListedShard>> {
    (1_usize..5, prop::collection::vec(prop::collection::vec(0_u8..3, 8), 0..5)).prop_map(|(roots, generations)| {
        let mut shards: Vec<ListedShard> = (0..roots).map(|id| shard(&id.to_string(), &[], 0, true)).collect();
        let mut open: Vec<usize> = (0..roots).collect();
        for (generation, steps) in generations.into_iter().enumerate() {
            let (mut next, mut at) = (Vec::new(), 0);
            while at < open.len() {
                let step = steps[at % steps.len()];
                let parents: Vec<usize> = match step {
                    1 if at + 1 < open.len() => vec![open[at], open[at + 1]],
                    _ => vec![open[at]],
                };
                at += parents.len();
                if step == 0 || (step == 1 && parents.len() == 1) {
                    next.extend(parents);
                    continue;
                }
                let ids: Vec<String> = parents.iter().map(|&parent| shards[parent].id.clone()).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                for &parent in &parents {
                    shards[parent].is_open = false;
                }
                for _ in 0..if step == 2 { 2 } else { 1 } {
                    let id = shards.len().to_string();
                    shards.push(shard(&id, &ids, generation as u64 + 1, true));
                    next.push(shards.len() - 1);
                }
            }
            open = next;
        }
        shards
    })
}

proptest! {
    /// From any table: what is created makes every open shard leased or the descendant of a leased one, creates nothing a second
    /// time, and with the oldest position no shard has an unleased ancestor whose other children are read.
    #[test]
    fn every_open_shard_is_reached_and_none_twice(
        shards in lineage(), leased in prop::collection::vec(any::<bool>(), 64), latest: bool
    ) {
        let initial = if latest { Checkpoint::Latest } else { Checkpoint::TrimHorizon };
        let leased = shards.iter().zip(&leased).filter(|(_, is_leased)| **is_leased).map(|(shard, _)| shard.id.as_str());
        let mut leases: BTreeSet<&str> = leased.collect();
        let missing = missing_leases(&shards, &leases, initial);
        for lease in &missing {
            prop_assert!(leases.insert(&lease.key), "{} has a lease", lease.key);
        }
        let by_id: BTreeMap<&str, &ListedShard> = shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        // Whether the shard is read, now or after its ancestors; and whether nothing before it is left out.
        fn is_reached(id: &str, by_id: &BTreeMap<&str, &ListedShard>, leases: &BTreeSet<&str>) -> bool {
            leases.contains(id) || by_id[id].parents.iter().any(|parent| is_reached(parent, by_id, leases))
        }
        fn is_whole(id: &str, by_id: &BTreeMap<&str, &ListedShard>, leases: &BTreeSet<&str>) -> bool {
            let parents = &by_id[id].parents;
            leases.contains(id) || !parents.is_empty() && parents.iter().all(|parent| is_whole(parent, by_id, leases))
        }
        for shard in shards.iter().filter(|shard| shard.is_open) {
            prop_assert!(is_reached(&shard.id, &by_id, &leases), "{} is not read", shard.id);
            prop_assert!(is_whole(&shard.id, &by_id, &leases), "{} begins without a parent", shard.id);
        }
        // A created lease's ancestors are not read: nothing of it would wait for them.
        for lease in &missing {
            let parents = &by_id[&*lease.key].parents;
            prop_assert!(!parents.iter().any(|parent| is_reached(parent, &by_id, &leases)), "{} overtakes", lease.key);
        }
        prop_assert!(missing_leases(&shards, &leases, initial).is_empty());
    }
}
