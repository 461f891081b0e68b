//! One StatefulSet for each shard. It keeps pods and volumes in being; which pod restarts or goes, and when, the
//! operator decides.

use super::Blueprint;
use super::names::{DATA, headless_name, labels, metadata, shard_name, shard_selector};
use super::pod;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// Earlier templates that are kept.
const HISTORY: i32 = 2;

pub(super) fn build(blueprint: &Blueprint<'_>) -> Vec<StatefulSet> {
    blueprint.sizes.iter().map(|(shard, size)| one(blueprint, *shard, *size)).collect()
}

fn one(blueprint: &Blueprint<'_>, shard: u16, size: u16) -> StatefulSet {
    let name = blueprint.name();
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata: metadata(blueprint, shard_name(name, shard)),
        spec: StatefulSetSpec {
            replicas: Some(i32::from(size)),
            service_name: Some(headless_name(name)),
            selector: LabelSelector {
                match_labels: Some(shard_selector(name, shard)),
                ..LabelSelector::default()
            },
            template: pod::template(blueprint, shard),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: retain(),
                when_scaled: retain(),
            }),
            revision_history_limit: Some(HISTORY),
            volume_claim_templates: claim_template(blueprint).map(|claim| vec![claim]),
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    }
}

fn claim_template(blueprint: &Blueprint<'_>) -> Option<PersistentVolumeClaim> {
    let storage = blueprint.cluster.spec.storage.as_ref()?;
    let class = &storage.storage_class_name;
    let size = BTreeMap::from([("storage".to_owned(), Quantity(storage.size.clone()))]);
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.into()),
            labels: Some(labels(blueprint.name())),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: (!class.is_empty()).then(|| class.clone()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(size),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
