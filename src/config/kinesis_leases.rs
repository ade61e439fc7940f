//! `leases` of a Kinesis source: who divides the shards, and what several delivery streams must not share.

use std::time::Duration;

use super::checks::Checks;
use super::destination::{Connection, service_connection};
use super::kinesis_source::{KinesisSource, is_of_names};
use super::map::Map;
use super::model::{AssumeRole, Consumer, LeaseTableConfig, Leases};
use super::reader::Value;

const KEYS: &[&str] = &[
    "table",
    "region",
    "endpoint_url",
    "assume_role",
    "failover_seconds",
    "max_leases",
    "max_leases_to_steal",
    "worker_id",
];

/// As DynamoDB has it.
const TABLE_CHARS_MIN: usize = 3;
const TABLE_CHARS_MAX: usize = 255;
const WORKER_ID_CHARS_MAX: usize = 128;
/// The KCL's, as the next one.
const FAILOVER_SECONDS_DEFAULT: i64 = 10;
const MAX_LEASES_TO_STEAL_DEFAULT: i64 = 1;

/// How the stream is reached, and so its table as far as that says nothing else.
pub(super) struct Reached {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// What the table has in place of the source's own, where another service answers.
    table_endpoint_url: Option<String>,
}

impl Reached {
    pub fn by(own: Connection, region_of_arn: Option<String>, aws: &Connection) -> Self {
        let (_, table_endpoint_url, _) = Connection::default().or(aws);
        let region = own.region().map(str::to_owned).or(region_of_arn);
        let (region_of_aws, endpoint_url, assume_role) = own.or(aws);
        Self { region: region.or(region_of_aws), endpoint_url, assume_role, table_endpoint_url }
    }
}

/// `leases` of the source `source`.
pub(super) fn leases(value: &Value<'_>, source: &Map<'_>, reached: Option<&Reached>) -> Option<Leases> {
    if !value.is_map() {
        let allowed = "`local` or `{ dynamodb: { table: … } }`";
        value.string(allowed)?.check(allowed, |text| text == "local")?;
        return Some(Leases::Local);
    }
    let value = value.map(&["dynamodb"])?.required("dynamodb")?;
    let is_whole = check_shards(source);
    let table = lease_table(&value, source, reached)?;
    is_whole.then(|| Leases::DynamoDb(Box::new(table)))
}

fn lease_table(value: &Value<'_>, source: &Map<'_>, reached: Option<&Reached>) -> Option<LeaseTableConfig> {
    let map = value.map(KEYS)?;
    let table = table(&map, source);
    let connection = service_connection(&map);
    let failover =
        map.get_or("failover_seconds", FAILOVER_SECONDS_DEFAULT, |value| value.whole(1..=3600, " of seconds"));
    let leases_max = map.optional("max_leases", |value| u32::try_from(value.whole(1..=100_000, "")?).ok());
    let steal_max = map.get_or("max_leases_to_steal", MAX_LEASES_TO_STEAL_DEFAULT, |value| value.whole(1..=1000, ""));
    let worker_id = map.optional("worker_id", |value| {
        let allowed = format!("the name of a worker, at most {WORKER_ID_CHARS_MAX} characters");
        Some(value.word(&allowed)?.check(&allowed, |name| name.len() <= WORKER_ID_CHARS_MAX)?.text)
    });
    let (own, reached) = (connection?, reached?);
    let (region, endpoint_url, assume_role) = own.or(&Connection::default());
    Some(LeaseTableConfig {
        table: table?,
        region: region.or_else(|| reached.region.clone()),
        endpoint_url: endpoint_url.or_else(|| reached.table_endpoint_url.clone()),
        assume_role: assume_role.or_else(|| reached.assume_role.clone()),
        failover: Duration::from_secs(failover?.unsigned_abs()),
        leases_max: leases_max?,
        leases_to_steal_max: u32::try_from(steal_max?).ok()?,
        worker_id: worker_id?,
    })
}

/// The table's name: `table`, or `application_name`, which there has to be in any case.
fn table(map: &Map<'_>, source: &Map<'_>) -> Option<String> {
    let allowed = format!(
        "the name of a table, {TABLE_CHARS_MIN} to {TABLE_CHARS_MAX} characters of `a-z`, `A-Z`, `0-9`, `_`, `.` and `-`"
    );
    let is_table = |name: &str| (TABLE_CHARS_MIN..=TABLE_CHARS_MAX).contains(&name.len()) && is_of_names(name);
    let Some(application_name) = source.get("application_name") else {
        let help = "the workers that share the stream have the same one, and the lease table is called after it";
        source.value().problem("leases in DynamoDB need an `application_name`", Some(help.to_owned()));
        return None;
    };
    if let Some(value) = map.get("table") {
        return Some(value.string(&allowed)?.check(&allowed, is_table)?.text);
    }
    let (name, _) = application_name.scalar(&allowed)?;
    if is_table(&name.text) {
        return Some(name.text);
    }
    // What is no name at all was reported already.
    if name.text.len() < TABLE_CHARS_MIN && !name.text.is_empty() && is_of_names(&name.text) {
        let help = "names of tables have at least 3 characters: a longer one, or `table` under `dynamodb`";
        application_name.problem("`application_name` is too short for the lease table", Some(help.to_owned()));
    }
    None
}

/// False if single shards are named, too.
fn check_shards(source: &Map<'_>) -> bool {
    let Some(value) = source.get("shards") else { return true };
    let help = "workers divide all shards: take `shards` away, or have `leases: local`";
    value.problem("`shards` does not go together with leases in DynamoDB", Some(help.to_owned()));
    false
}

impl Checks<'_, '_> {
    /// Two delivery streams must not have one lease table for two streams, nor be one worker or one consumer.
    pub fn leases(&self) {
        let sources: Vec<_> = self.streams.iter().filter_map(|stream| stream.kinesis.as_ref()).collect();
        for (number, source) in sources.iter().enumerate() {
            if let Some((message, help)) = sources[..number].iter().find_map(|first| clash(first, source)) {
                let leases = source.value.key("leases");
                let place = leases.filter(|_| source.config.lease_table().is_some());
                place.as_ref().unwrap_or(&source.value).problem(message, Some(help.to_owned()));
            }
        }
    }
}

/// Message and help where the second cannot stand beside the first.
fn clash(first: &KinesisSource<'_>, second: &KinesisSource<'_>) -> Option<(String, &'static str)> {
    let at = first.value.place_shown();
    let is_same_stream = first.config.is_same_stream(&second.config);
    let tables = first.config.lease_table().zip(second.config.lease_table());
    let shared = tables.filter(|(one, other)| one.is_same_table(other));
    if shared.is_some() && !is_same_stream {
        let message = format!("another stream has its leases in this table already, at {at}");
        return Some((message, "each stream has a table of its own: another `application_name` or `table`"));
    }
    if let Some((one, other)) = shared
        && one.worker_id.is_some()
        && one.worker_id == other.worker_id
    {
        let message = format!("another delivery stream is this worker of the table already, at {at}");
        return Some((
            message,
            "another `worker_id`, or none; and another `application_name` for a copy of all records",
        ));
    }
    let (Consumer::EnhancedFanOut { name, .. }, Consumer::EnhancedFanOut { name: other, .. }) =
        (&first.config.consumer, &second.config.consumer)
    else {
        return None;
    };
    (is_same_stream && name == other && shared.is_none()).then(|| {
        let message = format!("another delivery stream is this consumer of the stream already, at {at}");
        (message, "a consumer gets each shard once: another `consumer_name`")
    })
}
