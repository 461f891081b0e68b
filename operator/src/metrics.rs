//! What a monitoring system reads at `/metrics`. Names begin with `slotkeeper_operator_` for the operator itself and
//! `slotkeeper_cluster_` for clusters.

use operator_api::RedisClusterStatus;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Upper ends of the histogram's buckets, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// A write to the API server.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    verb: &'static str,
    kind: &'static str,
}

/// A cluster.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cluster {
    namespace: String,
    name: String,
}

/// A step, and whether it worked.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

/// Every metric.
pub struct Metrics {
    registry: Mutex<Registry>,
    looks: Histogram,
    writes: Family<Write, Counter>,
    steps: Family<StepLabels, Counter>,
    not_done: Counter,
    leader: Gauge,
    slots_covered: Family<Cluster, Gauge>,
    masters: Family<Cluster, Gauge>,
    ready: Family<Cluster, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            looks: Histogram::new(SECONDS),
            writes: Family::default(),
            steps: Family::default(),
            not_done: Counter::default(),
            leader: Gauge::default(),
            slots_covered: Family::default(),
            masters: Family::default(),
            ready: Family::default(),
            registry: Mutex::default(),
        };
        let own = registry.sub_registry_with_prefix("slotkeeper_operator");
        own.register(
            "look_seconds",
            "Time of one look at a cluster, its plan and the beginning of its steps",
            metrics.looks.clone(),
        );
        own.register("api_writes", "Writes to the API server", metrics.writes.clone());
        own.register("steps_begun", "Steps that were begun", metrics.steps.clone());
        own.register(
            "steps_not_done",
            "Things that could not be done and are tried again",
            metrics.not_done.clone(),
        );
        own.register("leader", "1 where this operator is the one that works", metrics.leader.clone());
        let clusters = registry.sub_registry_with_prefix("slotkeeper_cluster");
        clusters.register("slots_covered", "Slots that are served, of 16384", metrics.slots_covered.clone());
        clusters.register("masters", "Masters that own slots", metrics.masters.clone());
        clusters.register("ready", "1 where everything is as declared", metrics.ready.clone());
        *metrics.registry.lock() = registry;
        metrics
    }
}

impl Metrics {
    /// The text that is scraped.
    ///
    /// # Errors
    /// A metric that cannot be written as text, which would be a defect of its type.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }

    /// One look took so long.
    pub fn looked(&self, took: Duration) {
        self.looks.observe(took.as_secs_f64());
    }

    /// The API server was asked to change something.
    pub fn api_write(&self, verb: &'static str, kind: &'static str) {
        self.writes.get_or_create(&Write { verb, kind }).inc();
    }

    /// A step was begun.
    pub fn step(&self, step: &'static str) {
        self.steps.get_or_create(&StepLabels { step }).inc();
    }

    /// Something could not be done.
    pub fn not_done(&self) {
        self.not_done.inc();
    }

    /// Whether this operator works or stands by.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// How a cluster is.
    pub fn cluster(&self, namespace: &str, name: &str, status: &RedisClusterStatus) {
        let labels = Cluster { namespace: namespace.into(), name: name.into() };
        self.slots_covered.get_or_create(&labels).set(i64::from(status.slots_covered));
        self.masters.get_or_create(&labels).set(i64::from(status.masters));
        self.ready.get_or_create(&labels).set(i64::from(crate::status::holds(status, "Ready")));
    }

    /// A cluster is gone.
    pub fn drop_cluster(&self, namespace: &str, name: &str) {
        let labels = Cluster { namespace: namespace.into(), name: name.into() };
        self.slots_covered.remove(&labels);
        self.masters.remove(&labels);
        self.ready.remove(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text_and_a_gone_cluster_is_not() {
        let metrics = Metrics::default();
        metrics.api_write("apply", "Service");
        metrics.looked(Duration::from_millis(3));
        metrics.set_leader(true);
        let status = RedisClusterStatus { slots_covered: 16384, ..RedisClusterStatus::default() };
        metrics.cluster("shop", "demo", &status);
        let text = metrics.text().unwrap();
        for line in [
            "slotkeeper_operator_api_writes_total{verb=\"apply\",kind=\"Service\"} 1",
            "slotkeeper_operator_leader 1",
            "slotkeeper_cluster_slots_covered{namespace=\"shop\",name=\"demo\"} 16384",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.drop_cluster("shop", "demo");
        assert!(!metrics.text().unwrap().contains("shop"));
    }
}
