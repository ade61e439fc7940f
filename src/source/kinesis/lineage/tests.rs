use super::*;

const LAG_MAX: Duration = Duration::from_secs(10);

fn shard(id: &str, parents: &[&str], start: u128, end: u128) -> ChildShard {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    ChildShard { id: id.to_owned(), parents, hash_keys: HashKeyRange { start, end } }
}

/// `a` is split into `b` and `c`.
fn split() -> Vec<ChildShard> {
    vec![shard("a", &[], 0, 9), shard("b", &["a"], 0, 4), shard("c", &["a"], 5, 9)]
}

fn lineage(wanted: &[&str]) -> Lineage {
    let wanted = match wanted {
        [] => Wanted::All,
        ids => Wanted::Named(ids.iter().map(|&id| id.to_owned()).collect()),
    };
    Lineage::new(wanted, Start::TrimHorizon, Vec::new(), LAG_MAX)
}

fn begun(lineage: &mut Lineage) -> Vec<String> {
    lineage.begin().into_iter().map(|begin| begin.id).collect()
}

fn finish(lineage: &mut Lineage, id: &str) {
    let _ = lineage.read_to_end(id, Vec::new(), true);
    let _ = lineage.settled(id);
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn children_begin_when_their_parent_is_settled() {
    let mut lineage = lineage(&[]);
    assert_eq!(lineage.listed(&split(), at(0)).put.len(), 3);
    assert_eq!(begun(&mut lineage), ["a"]);
    let _ = lineage.read_to_end("a", split()[1..].to_vec(), true);
    assert_eq!(begun(&mut lineage), Vec::<String>::new());
    assert_eq!(lineage.settled("a").put.len(), 3);
    assert_eq!(begun(&mut lineage), ["b", "c"]);
}

#[test]
fn named_shards_are_read_alone_and_done_at_their_end() {
    let mut lineage = lineage(&["a"]);
    assert_eq!(lineage.listed(&split(), at(0)).put.len(), 1);
    assert_eq!(begun(&mut lineage), ["a"]);
    assert!(lineage.read_to_end("a", split()[1..].to_vec(), true).put.is_empty());
    assert!(!lineage.is_done());
    let _ = lineage.settled("a");
    assert!(lineage.is_done() && begun(&mut lineage).is_empty() && !lineage.wants_listing());
}

#[test]
fn a_named_child_waits_for_named_parents_alone() {
    let mut child = lineage(&["b"]);
    let _ = child.listed(&split(), at(0));
    assert_eq!(begun(&mut child), ["b"]);
    let mut both = lineage(&["a", "b"]);
    let _ = both.listed(&split(), at(0));
    assert_eq!(begun(&mut both), ["a"]);
}

#[test]
fn a_named_shard_that_nobody_lists_is_told() {
    let mut lineage = lineage(&["a", "x"]);
    let _ = lineage.listed(&split(), at(0));
    finish(&mut lineage, "a");
    assert_eq!(lineage.unknown(), ["x"]);
    assert!(!lineage.is_done());
}

#[test]
fn an_unlisted_parent_has_expired_after_the_lag() {
    let mut lineage = lineage(&[]);
    let _ = lineage.listed(&split()[1..], at(0));
    assert!(begun(&mut lineage).is_empty() && lineage.wants_listing());
    let changes = lineage.listed(&split()[1..], at(11));
    assert!(changes.put.iter().all(|row| row.parents.is_empty() && row.state == RowState::Ready));
    assert_eq!(begun(&mut lineage), ["b", "c"]);
    assert!(!lineage.wants_listing());
}

#[test]
fn a_parent_that_comes_after_the_lag_is_read_all_the_same() {
    let mut lineage = lineage(&[]);
    let _ = lineage.listed(&split()[1..], at(0));
    let _ = lineage.listed(&split()[1..], at(11));
    assert_eq!(begun(&mut lineage), ["b", "c"]);
    let _ = lineage.listed(&split(), at(12));
    let _ = lineage.listed(&split(), at(30));
    assert_eq!(begun(&mut lineage), ["a"]);
}

#[test]
fn a_shard_that_is_read_stays_when_no_listing_has_it() {
    let mut lineage = lineage(&[]);
    let _ = lineage.listed(&split(), at(0));
    assert_eq!(begun(&mut lineage), ["a"]);
    for seconds in [20, 40, 60] {
        assert!(lineage.listed(&split()[1..], at(seconds)).is_empty());
    }
    assert!(begun(&mut lineage).is_empty());
}

#[test]
fn a_shard_that_expired_unread_is_reported_and_its_children_begin() {
    let mut lineage = lineage(&[]);
    let _ = lineage.listed(&split(), at(0));
    assert_eq!(begun(&mut lineage), ["a"]);
    lineage.not_found("a", false);
    let _ = lineage.listed(&split(), at(1));
    assert_eq!(begun(&mut lineage), ["a"], "it is listed, so it is tried again");
    lineage.not_found("a", false);
    assert!(lineage.listed(&split()[1..], at(2)).lost.is_empty());
    assert_eq!(lineage.listed(&split()[1..], at(13)).lost, ["a"]);
    let _ = lineage.settled("a");
    assert_eq!(begun(&mut lineage), ["b", "c"]);
}

#[test]
fn a_row_is_kept_until_all_children_have_begun() {
    let mut lineage = lineage(&[]);
    let _ = lineage.listed(&split()[..2], at(0));
    let _ = begun(&mut lineage);
    finish(&mut lineage, "a");
    assert!(lineage.listed(&split()[1..2], at(10)).forget.is_empty());
    assert!(lineage.listed(&split()[1..2], at(30)).forget.is_empty(), "nothing is known of the other child");
    assert_eq!(lineage.listed(&split()[1..], at(40)).forget, ["a"]);
    assert!(lineage.listed(&split(), at(41)).is_empty(), "an old listing does not bring it back");
    assert_eq!(begun(&mut lineage), ["b", "c"]);
}

#[test]
fn ranges_cover_without_a_hole() {
    let range = |start, end| HashKeyRange { start, end };
    assert!(covers(vec![range(5, 9), range(0, 4)], range(0, 9)));
    assert!(covers(vec![range(0, u128::MAX)], HashKeyRange::ALL));
    assert!(covers(vec![range(0, 20)], range(3, 9)), "merged");
    assert!(!covers(vec![range(0, 4), range(6, 9)], range(0, 9)));
    assert!(!covers(vec![range(0, 4)], range(0, 9)));
    assert!(!covers(Vec::new(), range(0, 9)));
}
