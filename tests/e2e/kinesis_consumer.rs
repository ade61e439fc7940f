//! Enhanced fan-out through the binary: the consumer from its registration to its end, and what becomes of subscriptions under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::types::{ConsumerStatus, ShardIteratorType, StartingPosition};
use serde_json::{Value, json};

use crate::support::kinesis::{KinesisStream, client};
use crate::support::servers::{certificates, free_port};
use crate::support::{
    CallFault, CallProxy, Hydrant, Kinesis, Objects, Scratch, TlsRelay, config, directory, fast_buffering, wait_until,
};

const FIRST: &str = "shardId-000000000000";
const SUBSCRIBE: &str = "SubscribeToShard";

/// A server that nobody else has: with others about, the one for all tests at times forgets a consumer, or leaves it as it was for ever.
/// One at a time.
struct Server {
    kinesis: Kinesis,
    _log: Scratch,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    fn start() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let log = Scratch::new();
        Some(Self { kinesis: Kinesis::own(&log, free_port())?, _log: log, _turn: turn })
    }
}

/// One delivery stream that reads a stream of its own through the proxy, as the consumer `hydrant`.
struct Scene<'a> {
    scratch: Scratch,
    stream: KinesisStream<'a>,
    proxy: CallProxy,
    server: &'a Kinesis,
    /// How many numbered records were put.
    put: usize,
}

impl<'a> Scene<'a> {
    fn new(server: &'a Kinesis, shards: usize) -> Self {
        let (scratch, stream, proxy) = (Scratch::new(), server.stream(shards), CallProxy::start(server.port()));
        Self { scratch, stream, proxy, server, put: 0 }
    }

    fn config(&self) -> Value {
        config(
            &self.scratch,
            [json!({
                "name": "s",
                "source": { "kinesis": {
                    "stream": self.stream.name(),
                    "region": "eu-west-1",
                    "endpoint_url": self.proxy.endpoint(),
                    "consumer": "enhanced_fan_out",
                    "consumer_name": "hydrant",
                } },
                "buffering": fast_buffering(),
                "destination": directory(&self.scratch.out()),
            })],
        )
    }

    fn config_with(&self, key: &str, value: Value) -> Value {
        let mut config = self.config();
        config["delivery_streams"][0]["source"]["kinesis"][key] = value;
        config
    }

    fn run(&self) -> Hydrant {
        Hydrant::run(&self.scratch, &self.config())
    }

    fn put(&mut self, count: usize) {
        self.stream.put_numbers(self.put..self.put + count);
        self.put += count;
    }

    /// All that was put is delivered, each record once.
    #[track_caller]
    fn arrives(&self) {
        let mut objects = Objects::of(&self.scratch.out());
        wait_until("all records are delivered", || {
            objects.look();
            objects.lines_total() >= self.put
        });
        self.assert_delivered();
    }

    #[track_caller]
    fn assert_delivered(&self) {
        let mut expected: Vec<_> = (0..self.put).map(|n| format!("{{\"n\":{n}}}")).collect();
        expected.sort();
        assert_eq!(Objects::read(&self.scratch.out()).lines(), expected);
    }

    #[track_caller]
    fn put_and_arrive(&mut self, count: usize) {
        self.put(count);
        self.arrives();
    }

    /// The server may take its time for the rest.
    #[track_caller]
    fn assert_deregistered(&self) {
        let consumer = self.stream.consumer("hydrant");
        assert!(matches!(consumer, None | Some(ConsumerStatus::Deleting)), "{consumer:?}");
    }

    /// The consumer that the last subscription was made for.
    fn consumer_arn(&self) -> String {
        let calls = self.proxy.calls();
        let last = calls.iter().rfind(|call| call.operation == SUBSCRIBE).expect("a subscription");
        last.body["ConsumerARN"].as_str().expect("its consumer").to_owned()
    }
}

#[test]
fn a_consumer_is_registered_once_and_found_at_the_next_start() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 2);
    for _ in 0..2 {
        let hydrant = scene.run();
        scene.put_and_arrive(40);
        hydrant.terminate().expect_code(0);
        assert_eq!(scene.stream.consumer("hydrant"), Some(ConsumerStatus::Active));
    }
    assert_eq!(scene.proxy.count("RegisterStreamConsumer"), 1);
    assert_eq!(scene.proxy.count("DeregisterStreamConsumer"), 0);
    assert_eq!(scene.proxy.count("GetRecords"), 0);
}

#[test]
fn a_drain_ends_and_takes_its_registration_back_where_that_is_configured() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 2);
    scene.put(60);
    Hydrant::drain(&scene.scratch, &scene.config_with("deregister_consumer", json!(true)));
    scene.assert_delivered();
    scene.assert_deregistered();
}

#[test]
fn an_end_does_not_wait_for_a_service_that_does_not_answer() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 1);
    let hydrant = Hydrant::run(&scene.scratch, &scene.config_with("deregister_consumer", json!(true)));
    scene.put_and_arrive(10);
    scene.proxy.next("DeregisterStreamConsumer", [CallFault::Hang]);
    let finished = hydrant.terminate().expect_code(0);
    assert!(finished.stderr.contains("the consumer may stay registered"), "{finished}");
}

#[test]
fn every_record_arrives_once_over_splits_merges_and_kills() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 1);
    scene.put(100);
    let hydrant = scene.run();
    let [low, high] = scene.stream.split(FIRST);
    scene.put(100);
    let [_, middle] = scene.stream.split(&low);
    scene.put(100);
    hydrant.kill_9();
    scene.stream.merge(&middle, &high);
    scene.put(100);
    let hydrant = scene.run();
    scene.put_and_arrive(100);
    hydrant.kill_9();
    let hydrant = scene.run();
    scene.put_and_arrive(50);
    hydrant.terminate().expect_code(0);
    Hydrant::drain(&scene.scratch, &scene.config());
    scene.assert_delivered();
}

#[test]
fn a_subscription_that_ends_breaks_or_errs_loses_and_doubles_nothing() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 1);
    scene.proxy.next(SUBSCRIBE, [CallFault::THROTTLED, CallFault::UNAVAILABLE]);
    let hydrant = scene.run();
    scene.put_and_arrive(20);
    scene.proxy.end_subscriptions();
    scene.put_and_arrive(20);
    scene.proxy.next(SUBSCRIBE, [CallFault::CutWithin(700), CallFault::Exception("InternalFailureException")]);
    scene.proxy.cut();
    scene.put_and_arrive(20);
    assert_eq!(scene.proxy.waiting(), 0);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_shard_that_another_holds_is_read_on_once_it_is_free() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 1);
    let hydrant = scene.run();
    scene.put_and_arrive(20);
    let (arn, other) = (scene.consumer_arn(), client(&scene.proxy.endpoint()));
    let latest = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().expect("a type");
    let mut held = None;
    wait_until("another reader has the shard", || {
        let subscribe = other.subscribe_to_shard().consumer_arn(&arn).shard_id(FIRST);
        held = scene.server.block_on(subscribe.starting_position(latest.clone()).send()).ok();
        held.is_some()
    });
    wait_until("Hydrant is told so", || hydrant.said("another reader of this consumer holds the shard") > 0);
    drop(held);
    scene.put_and_arrive(20);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_consumer_that_somebody_deregisters_is_registered_anew() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 2);
    let hydrant = Hydrant::run(&scene.scratch, &scene.config_with("deregister_consumer", json!(true)));
    scene.put_and_arrive(40);
    let before = scene.consumer_arn();
    scene.stream.deregister_consumer("hydrant");
    let gone = before.clone();
    scene.proxy.rule(move |call| match call.body["ConsumerARN"] == json!(gone) && call.operation == SUBSCRIBE {
        true => CallFault::NOT_FOUND,
        false => CallFault::Pass,
    });
    scene.proxy.end_subscriptions();
    scene.put_and_arrive(40);
    assert_ne!(scene.consumer_arn(), before);
    assert_eq!(scene.proxy.count("RegisterStreamConsumer"), 2, "once for all shards");
    assert_eq!(hydrant.said("have expired"), 0);
    let finished = hydrant.terminate().expect_code(0);
    assert!(finished.stderr.contains("registered anew"), "{finished}");
    scene.assert_deregistered();
}

#[test]
fn over_tls_all_is_read_by_http_2() {
    let Some(server) = Server::start() else { return };
    let mut scene = Scene::new(&server.kinesis, 2);
    certificates(scene.scratch.root(), "server-ca", "server");
    let relay = TlsRelay::start(scene.scratch.root(), &scene.proxy);
    let config = scene.config_with("endpoint_url", json!(relay.endpoint()));
    let authority = scene.scratch.path("server-ca.pem");
    let trusted = [("SSL_CERT_FILE", authority.to_str().expect("a path in UTF-8"))];
    let hydrant = Hydrant::run_with_env(&scene.scratch, &config, &trusted);
    scene.put_and_arrive(40);
    scene.stream.split(FIRST);
    scene.proxy.end_subscriptions();
    scene.put_and_arrive(40);
    hydrant.terminate().expect_code(0);
    assert!(scene.proxy.count(SUBSCRIBE) >= 4, "two shards and two children");
    assert_eq!(relay.calls(), scene.proxy.calls().len());
}
