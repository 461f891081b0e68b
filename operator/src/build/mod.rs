//! Every child object of a RedisCluster, every time. Pure: the same declaration makes the same objects.

mod budget;
mod config_map;
mod names;
mod pod;
mod service;
mod service_account;
mod stateful_set;

pub use budget::{RISE_PAUSE, Steady, budgets};
pub use names::{
    ADMIN_PORT, CLIENT_PORT, CLUSTER_LABEL, CLUSTER_UID, DATA, MANAGED_BY, MANAGED_BY_LABEL, SHARD_LABEL,
    claim_name, labels, shard_name,
};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use operator_api::RedisCluster;
use serde_json::Value;
use std::collections::BTreeMap;

/// What children are built from.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The declaration.
    pub cluster: &'a RedisCluster,
    /// Whose children they are.
    pub owner: &'a OwnerReference,
    /// The image where `spec.image` is empty.
    pub default_image: &'a str,
    /// How many pods each shard has now: those declared, and those that have not gone yet.
    pub sizes: &'a BTreeMap<u16, u16>,
    /// How many pods of each shard may be evicted now.
    pub budgets: &'a BTreeMap<u16, i32>,
}

impl<'a> Blueprint<'a> {
    fn name(&self) -> &'a str {
        self.cluster.metadata.name.as_deref().unwrap_or_default()
    }
}

/// Every child there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// What the pods run as, with no right to anything.
    pub service_account: ServiceAccount,
    /// redis.conf.
    pub config_map: ConfigMap,
    /// Gives pods their names, ready or not.
    pub headless_service: Service,
    /// Where clients begin.
    pub client_service: Service,
    /// One for each shard.
    pub stateful_sets: Vec<StatefulSet>,
    /// One for each shard.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
}

/// What kind of object a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Kind {
    ServiceAccount,
    ConfigMap,
    Service,
    StatefulSet,
    PodDisruptionBudget,
}

/// One child, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it.
    pub object: Value,
}

impl Children {
    /// Builds all.
    #[must_use]
    pub fn build(blueprint: &Blueprint<'_>) -> Self {
        Self {
            service_account: service_account::build(blueprint),
            config_map: config_map::build(blueprint),
            headless_service: service::headless(blueprint),
            client_service: service::client(blueprint),
            stateful_sets: stateful_set::build(blueprint),
            disruption_budgets: budget::build(blueprint),
        }
    }

    /// All of them in the order in which they are applied: nothing refers to what comes later.
    ///
    /// # Errors
    /// An object that is no JSON, which would be a defect of its type.
    pub fn into_list(self) -> Result<Vec<Child>, serde_json::Error> {
        // A new field does not compile before it is listed here.
        let Self {
            service_account,
            config_map,
            headless_service,
            client_service,
            stateful_sets,
            disruption_budgets,
        } = self;
        let mut list = vec![
            child(Kind::ServiceAccount, &service_account)?,
            child(Kind::ConfigMap, &config_map)?,
            child(Kind::Service, &headless_service)?,
            child(Kind::Service, &client_service)?,
        ];
        for budget in &disruption_budgets {
            list.push(child(Kind::PodDisruptionBudget, budget)?);
        }
        for set in &stateful_sets {
            list.push(child(Kind::StatefulSet, set)?);
        }
        Ok(list)
    }
}

fn child(kind: Kind, object: &impl serde::Serialize) -> Result<Child, serde_json::Error> {
    let object = serde_json::to_value(object)?;
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Child { kind, name, object })
}

#[cfg(test)]
mod tests;
