use proptest::prelude::*;

use super::*;

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A row of this lease, as [`write`] makes it.
fn written(lease: &Lease) -> Item {
    let key = std::iter::once((LEASE_KEY, s(&lease.key)));
    key.chain(write(lease)).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn strings<const N: usize>(texts: [&str; N]) -> AttributeValue {
    AttributeValue::Ss(texts.map(str::to_owned).to_vec())
}

fn bytes(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

/// As the KCL 2.x leaves a lease that is worked on.
fn of_kcl_2() -> Item {
    item([
        ("leaseKey", s("shardId-000000000002")),
        ("leaseOwner", s("ip-10-0-0-7:4b9a6a4c-6c1f-4f0e-a8f4-d6a3b9f5d7c2")),
        ("leaseCounter", n(1187)),
        ("ownerSwitchesSinceCheckpoint", n(1)),
        ("checkpoint", s(NUMBER)),
        ("checkpointSubSequenceNumber", n(3)),
        ("parentShardId", strings(["shardId-000000000000", "shardId-000000000001"])),
        ("startingHashKey", s("0")),
        ("endingHashKey", s("340282366920938463463374607431768211455")),
    ])
}

fn lease(item: &Item) -> Lease {
    match read(item) {
        Row::Lease(lease) => *lease,
        other => panic!("{other:?}"),
    }
}

fn with(mut item: Item, name: &str, value: AttributeValue) -> Item {
    item.insert(name.to_owned(), value);
    item
}

fn without(mut item: Item, name: &str) -> Item {
    item.remove(name);
    item
}

fn at(sub_sequence_number: u64) -> Checkpoint {
    Checkpoint::At(NUMBER.parse().unwrap(), sub_sequence_number)
}

#[test]
fn every_attribute_of_the_kcl_is_understood() {
    let lease = lease(&of_kcl_2());
    assert_eq!(&*lease.key, "shardId-000000000002");
    assert_eq!(lease.owner.as_deref(), Some("ip-10-0-0-7:4b9a6a4c-6c1f-4f0e-a8f4-d6a3b9f5d7c2"));
    assert_eq!((lease.counter, lease.owner_switches), (1187, 1));
    assert_eq!(lease.checkpoint, at(3));
    assert_eq!(lease.pending, None);
    assert_eq!(lease.parents, ["shardId-000000000000", "shardId-000000000001"].map(str::to_owned).into());
    assert_eq!(lease.children, BTreeSet::new());
    assert_eq!(lease.hash_keys, Some(HashKeyRange::ALL));
    assert_eq!(lease.checkpoint_owner, None);
}

#[test]
fn a_row_of_kcl_1_lacks_most_attributes() {
    let first = item([
        ("leaseKey", s("shardId-000000000000")),
        ("leaseCounter", n(0)),
        ("ownerSwitchesSinceCheckpoint", n(0)),
        ("checkpoint", s("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", n(0)),
    ]);
    assert_eq!(lease(&first), Lease::new("shardId-000000000000", Checkpoint::TrimHorizon));
}

#[test]
fn what_is_new_in_kcl_3_is_understood_or_left_alone() {
    let row = with(of_kcl_2(), "entityType", s("LEASE"));
    let row = with(row, "throughputKBps", AttributeValue::N(String::from("17.25")));
    let row = with(row, "checkpointOwner", s("old"));
    assert_eq!(lease(&row).checkpoint_owner.as_deref(), Some("old"));
}

#[test]
fn a_shard_s_end_has_its_children() {
    let row = with(of_kcl_2(), "checkpoint", s("SHARD_END"));
    let row = with(row, "childShardIds", strings(["shardId-000000000004", "shardId-000000000003"]));
    let lease = lease(&without(with(row, "checkpointSubSequenceNumber", n(0)), "leaseOwner"));
    assert_eq!((lease.checkpoint, lease.owner), (Checkpoint::ShardEnd, None));
    assert_eq!(lease.children, ["shardId-000000000003", "shardId-000000000004"].map(str::to_owned).into());
}

#[test]
fn a_pending_checkpoint_has_a_state_of_any_bytes_or_none() {
    let row = with(of_kcl_2(), "pendingCheckpoint", s(NUMBER));
    let row = with(row, "pendingCheckpointSubSequenceNumber", n(7));
    let pending = |row: &Item| lease(row).pending.unwrap();
    assert_eq!(pending(&row), PendingCheckpoint { checkpoint: at(7), state: None });
    for (state, read) in [
        (bytes(b"\x00\xff any"), &b"\x00\xff any"[..]),
        (bytes(b""), b""),
        // What the KCL writes when it creates a row with a pending checkpoint.
        (n(3), b"3"),
    ] {
        let row = with(row.clone(), "pendingCheckpointState", state);
        assert_eq!(pending(&row).state.as_deref(), Some(read));
    }
    // A state alone says nothing.
    let row = with(of_kcl_2(), "pendingCheckpointState", bytes(b"left behind"));
    assert_eq!(lease(&row).pending, None);
    assert_eq!(lease(&with(row, "pendingCheckpoint", s(""))).pending, None);
}

#[test]
fn each_sentinel_is_its_checkpoint() {
    for (text, checkpoint) in [
        ("AT_TIMESTAMP", Checkpoint::AtTimestamp),
        ("TRIM_HORIZON", Checkpoint::TrimHorizon),
        ("LATEST", Checkpoint::Latest),
        ("SHARD_END", Checkpoint::ShardEnd),
    ] {
        assert_eq!(lease(&with(of_kcl_2(), "checkpoint", s(text))).checkpoint, checkpoint);
    }
}

#[test]
fn one_hash_key_alone_is_none() {
    assert_eq!(lease(&without(of_kcl_2(), "endingHashKey")).hash_keys, None);
    assert_eq!(lease(&without(of_kcl_2(), "startingHashKey")).hash_keys, None);
}

#[test]
fn other_entities_are_no_leases() {
    for entity_type in ["STREAM", "LEADER", "WORKER_METRIC_STATS", "CLIENT_VERSION_MIGRATION", "TABLE_MIGRATION", "new"]
    {
        let row = item([("leaseKey", s("k")), ("entityType", s(entity_type))]);
        assert_eq!(read(&row), Row::Entity { key: String::from("k"), entity_type: entity_type.to_owned() });
        // Even where it looks like one.
        assert!(read(&with(of_kcl_2(), "entityType", s(entity_type))).into_lease().is_none());
    }
}

#[test]
fn a_lease_of_several_streams_names_its_stream() {
    let stream = "123456789012:clicks:1700000000";
    let key = format!("{stream}:shardId-000000000000");
    let row = with(of_kcl_2(), "leaseKey", s(&key));
    let of_stream = Row::OfStream { key: key.clone(), stream: stream.to_owned() };
    assert_eq!(read(&row), of_stream);
    let row = with(with(row, "streamName", s(stream)), "shardId", s("shardId-000000000000"));
    assert_eq!(read(&row), of_stream);
}

#[test]
fn what_cannot_be_read_says_why() {
    for (row, reason) in [
        (without(of_kcl_2(), "leaseCounter"), "there is no `leaseCounter`"),
        (without(of_kcl_2(), "checkpoint"), "there is no `checkpoint`"),
        (without(of_kcl_2(), "leaseKey"), "there is no `leaseKey`"),
        (with(of_kcl_2(), "leaseCounter", s("1")), "`leaseCounter` is not a number"),
        (
            with(of_kcl_2(), "leaseCounter", AttributeValue::N(String::from("1.5"))),
            "`leaseCounter` is no whole number: `1.5`",
        ),
        (
            with(of_kcl_2(), "leaseCounter", AttributeValue::N(String::from("-1"))),
            "`leaseCounter` is no whole number: `-1`",
        ),
        (with(of_kcl_2(), "leaseOwner", n(1)), "`leaseOwner` is not a string"),
        (with(of_kcl_2(), "checkpoint", s("soon")), "`checkpoint`: `soon` is no checkpoint"),
        (with(of_kcl_2(), "pendingCheckpoint", s("soon")), "`pendingCheckpoint`: `soon` is no checkpoint"),
        (with(of_kcl_2(), "parentShardId", s("shardId-0")), "`parentShardId` is not a set of strings"),
        (with(of_kcl_2(), "endingHashKey", s("x")), "`endingHashKey` is no number of 128 bits"),
        (
            with(of_kcl_2(), "startingHashKey", s(u128::MAX))
                .into_iter()
                .chain([(ENDING_HASH_KEY.to_owned(), s("0"))])
                .collect(),
            "`startingHashKey` is behind `endingHashKey`",
        ),
        (with(of_kcl_2(), "entityType", n(1)), "`entityType` is not a string"),
    ] {
        match read(&row) {
            Row::Unreadable { reason: found, .. } => assert_eq!(found, reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

fn checkpoints() -> impl Strategy<Value = Checkpoint> {
    let at =
        ("[1-9][0-9]{0,128}|0", any::<u64>()).prop_map(|(number, sub)| Checkpoint::At(number.parse().unwrap(), sub));
    let sentinels = [Checkpoint::AtTimestamp, Checkpoint::TrimHorizon, Checkpoint::Latest, Checkpoint::ShardEnd];
    prop_oneof![prop::sample::select(sentinels.to_vec()).boxed(), at.boxed()]
}

fn owners() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of("[a-z:-]{1,8}".prop_map(Arc::from))
}

fn shards() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("shardId-[0-9]{12}", 0..3)
}

prop_compose! {
    fn leases()(
        key in "shardId-[0-9]{12}",
        (owner, checkpoint_owner) in (owners(), owners()),
        (counter, owner_switches) in any::<(u64, u64)>(),
        checkpoint in checkpoints(),
        pending in prop::option::of((checkpoints(), prop::option::of(prop::collection::vec(any::<u8>(), 0..40)))),
        (parents, children) in (shards(), shards()),
        hash_keys in prop::option::of(any::<(u128, u128)>()),
    ) -> Lease {
        let pending = pending.map(|(checkpoint, state)| PendingCheckpoint { checkpoint, state: state.map(Bytes::from) });
        let hash_keys = hash_keys.map(|(one, other)| HashKeyRange { start: one.min(other), end: one.max(other) });
        Lease {
            key: key.into(), owner, counter, checkpoint, pending, owner_switches, parents, children, hash_keys, checkpoint_owner,
        }
    }
}

/// Values of every kind, at every place.
fn values() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        any::<String>().prop_map(AttributeValue::S),
        any::<String>().prop_map(AttributeValue::N),
        any::<u64>().prop_map(n),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null(true)),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
        prop::collection::vec(any::<String>(), 0..3).prop_map(AttributeValue::Ss),
        Just(AttributeValue::L(Vec::new())),
        Just(AttributeValue::M(HashMap::new())),
    ]
}

proptest! {
    #[test]
    fn leases_survive_their_rows(lease in leases()) {
        prop_assert_eq!(read(&written(&lease)), Row::Lease(Box::new(lease)));
    }

    #[test]
    fn no_row_is_too_strange_to_be_judged(
        lease in leases(),
        strange in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(values())), 0..4),
    ) {
        let names = [
            LEASE_KEY, LEASE_OWNER, LEASE_COUNTER, OWNER_SWITCHES, CHECKPOINT, CHECKPOINT_SUB_SEQUENCE_NUMBER,
            PENDING_CHECKPOINT, PENDING_CHECKPOINT_SUB_SEQUENCE_NUMBER, PENDING_CHECKPOINT_STATE, PARENT_SHARD_IDS,
            CHILD_SHARD_IDS, STARTING_HASH_KEY, ENDING_HASH_KEY, CHECKPOINT_OWNER, ENTITY_TYPE, STREAM_NAME, "other",
        ];
        let mut row = written(&lease);
        for (name, value) in strange {
            let name = name.get(&names[..]).to_string();
            match value {
                Some(value) => row.insert(name, value),
                None => row.remove(&name),
            };
        }
        if let Row::Lease(found) = read(&row) {
            // What was read can be written, and is read as the same again.
            prop_assert_eq!(read(&written(&found)), Row::Lease(found.clone()));
        }
    }
}
