//! The port for people and monitoring: liveness, readiness with reasons, metrics.
//!
//! It answers from the moment it is bound, so that a broker which is still starting can be told from
//! one that is dead. Must never change anything, and must never keep the broker from stopping.

mod bounded;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::connection::Shared;
use crate::group_metrics::GroupMetrics;
use crate::metrics::registry::Registry;
use crate::partition_metrics::PartitionMetrics;
use crate::replication_metrics::ReplicationMetrics;
use bounded::BoundedListener;

const INDEX: &str = "\
Millpond
  /health/live   200 while the process runs
  /health/ready  200 while it serves, else 503 with the reasons
  /metrics       Prometheus text
";
/// Version 0.0.4 of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the broker stands between start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Logs are being opened.
    Starting,
    /// Clients are served.
    Serving,
    /// No more clients are let in.
    Stopping,
}

/// What is answered from. Filled while the broker starts.
pub(crate) struct Health {
    phase: AtomicU8,
    metrics: Registry,
    observed: OnceLock<Observed>,
}

/// What is looked at when somebody asks.
pub(crate) struct Observed {
    /// The broker.
    pub(crate) broker: Arc<Broker>,
    /// What its connections share.
    pub(crate) connections: Arc<Shared>,
    /// Where partitions are counted.
    pub(crate) partition_metrics: PartitionMetrics,
    /// Where replicas are counted.
    pub(crate) replication_metrics: ReplicationMetrics,
    /// Where groups are counted.
    pub(crate) group_metrics: GroupMetrics,
}

impl Health {
    /// A broker that is starting.
    pub(crate) fn new(metrics: Registry) -> Arc<Self> {
        let phase = AtomicU8::new(Phase::Starting as u8);
        Arc::new(Self { phase, metrics, observed: OnceLock::new() })
    }

    /// Sets what is looked at. Called once, when the broker can be asked.
    pub(crate) fn observe(&self, observed: Observed) {
        let first = self.observed.set(observed).is_ok();
        assert!(first, "a process has one broker");
    }

    /// Notes a step of the broker's life.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Why clients cannot be served; empty if they can.
    fn reasons(&self) -> Vec<String> {
        let phase = self.phase.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        if phase == Phase::Starting as u8 {
            reasons.push("the broker is starting".to_owned());
        }
        if phase == Phase::Stopping as u8 {
            reasons.push("the broker is stopping".to_owned());
        }
        let observed = self.observed.get();
        if let Some(Err(reason)) = observed.map(|observed| observed.broker.cluster.health()) {
            reasons.push(format!("the metadata group has stopped: {reason}"));
        }
        reasons
    }

    fn metrics_text(&self) -> String {
        let Some(observed) = self.observed.get() else { return self.metrics.render() };
        let Observed { broker, connections, .. } = observed;
        let (partition_metrics, group_metrics) =
            (&observed.partition_metrics, &observed.group_metrics);
        let memory_bytes = connections.memory.reserved_bytes();
        connections.metrics.sample(memory_bytes, connections.buffers.bytes());
        partition_metrics.sample(broker);
        observed.replication_metrics.sample(broker);
        let by_group = group_metrics.sample(broker);
        let of_clients = broker.telemetry.render(broker.clock.monotonic());
        self.metrics.render() + &by_group + &of_clients
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>) {
    let served = axum::serve(BoundedListener::new(listener), router(health));
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP port has stopped");
    }
}

fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health/live", get(|| async { json(StatusCode::OK, &json!({ "status": "live" })) }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let reasons = health.reasons();
    if reasons.is_empty() {
        return json(StatusCode::OK, &json!({ "status": "ready" }));
    }
    let body = json!({ "status": "not ready", "reasons": reasons });
    json(StatusCode::SERVICE_UNAVAILABLE, &body)
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], health.metrics_text()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_follows_the_life_of_the_broker_and_says_why() {
        let health = Health::new(Registry::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(serve(listener, Arc::clone(&health)));
        let starting = get(address, "/health/ready").await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.contains("starting"));
        assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200 "));
        health.enter(Phase::Serving);
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200 "));
        health.enter(Phase::Stopping);
        let stopping = get(address, "/health/ready").await;
        assert!(stopping.starts_with("HTTP/1.1 503 ") && stopping.contains("stopping"));
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/").await.contains("/health/ready"));
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404 "));
        served.abort();
    }
}
