//! The pod of a node: one static binary without rights, probed on a port of its own.

use super::Blueprint;
use super::config_map;
use super::names::{
    ADMIN_PORT, BUS_PORT, CLIENT_PORT, CLUSTER_UID, DATA, cluster_selector, pod_labels, shard_selector,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Who the process is: nobody in particular.
const USER: i64 = 65532;
/// Shortest time between SIGTERM and SIGKILL, in seconds.
const GRACE_MIN_S: i64 = 30;
/// What a node needs after its handover for its last connections and files, generously, in seconds.
const GRACE_AFTER_HANDOVER_S: i64 = 10;
/// A node's own default of `shutdown-timeout`, in seconds.
const HANDOVER_DEFAULT_S: i64 = 10;
/// How long a node may take until it answers its first probe, in seconds. It answers while it reads its files; an image
/// built before it did so does not, and the liveness probe alone would kill it after a minute, again and again.
const LOAD_MAX_S: i32 = 1800;
const CONFIG: &str = "config";
const CONFIG_DIR: &str = "/etc/slotkeeper";
const DATA_DIR: &str = "/data";
const HOSTNAME_KEY: &str = "kubernetes.io/hostname";
const ZONE_KEY: &str = "topology.kubernetes.io/zone";
const ORDINAL_LABEL: &str = "apps.kubernetes.io/pod-index";

pub(super) fn template(blueprint: &Blueprint<'_>, shard: u16) -> PodTemplateSpec {
    let pod = &blueprint.cluster.spec.pod;
    let mut labels = pod.labels.clone();
    labels.extend(pod_labels(blueprint.name(), shard));
    let mut annotations = pod.annotations.clone();
    annotations.insert(CLUSTER_UID.into(), blueprint.owner.uid.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(blueprint, shard)),
    }
}

fn spec(blueprint: &Blueprint<'_>, shard: u16) -> PodSpec {
    let pod = &blueprint.cluster.spec.pod;
    PodSpec {
        service_account_name: Some(blueprint.name().to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_s(blueprint)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(blueprint)],
        volumes: Some(volumes(blueprint)),
        topology_spread_constraints: Some(spreading(blueprint, shard)),
        node_selector: (!pod.node_selector.is_empty()).then(|| pod.node_selector.clone()),
        tolerations: (!pod.tolerations.is_empty()).then(|| pod.tolerations.clone()),
        affinity: pod.affinity.clone(),
        priority_class_name: pod.priority_class_name.clone(),
        image_pull_secrets: (!pod.image_pull_secrets.is_empty()).then(|| pod.image_pull_secrets.clone()),
        ..PodSpec::default()
    }
}

/// Above the longest handover, so that the kubelet does not cut it short.
fn grace_s(blueprint: &Blueprint<'_>) -> i64 {
    let config = &blueprint.cluster.spec.config;
    let set = config.iter().find(|(name, _)| name.eq_ignore_ascii_case("shutdown-timeout"));
    let handover = set.and_then(|(_, value)| operator_api::config::text(value).parse().ok());
    GRACE_MIN_S.max(handover.unwrap_or(HANDOVER_DEFAULT_S).saturating_add(GRACE_AFTER_HANDOVER_S))
}

fn container(blueprint: &Blueprint<'_>) -> Container {
    let image = &blueprint.cluster.spec.image;
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    let file = format!("{CONFIG_DIR}/{}", config_map::FILE);
    Container {
        name: "node".into(),
        image: Some(if image.is_empty() { blueprint.default_image.to_owned() } else { image.clone() }),
        image_pull_policy: Some("IfNotPresent".into()),
        working_dir: Some(DATA_DIR.into()),
        // The kubelet puts the address in place of $(POD_IP).
        args: Some(vec![file, "--cluster-announce-ip".into(), "$(POD_IP)".into()]),
        env: Some(vec![pod_ip()]),
        ports: Some(vec![port("client", CLIENT_PORT), port("bus", BUS_PORT), port("admin", ADMIN_PORT)]),
        volume_mounts: Some(vec![mount(CONFIG, CONFIG_DIR, true), mount(DATA, DATA_DIR, false)]),
        resources: blueprint.cluster.spec.resources.clone(),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(6),
            ..probe("/livez")
        }),
        startup_probe: blueprint.cluster.spec.storage.is_some().then(loaded),
        readiness_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(2),
            ..probe("/readyz")
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn pod_ip() -> EnvVar {
    EnvVar {
        name: "POD_IP".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".into(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// Until it answers, the other two probes wait. One attempt a second, so that their number is the bound in seconds.
fn loaded() -> Probe {
    Probe {
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(LOAD_MAX_S),
        ..probe("/livez")
    }
}

fn volumes(blueprint: &Blueprint<'_>) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: CONFIG.into(),
        config_map: Some(ConfigMapVolumeSource {
            name: blueprint.name().to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    // With storage, the StatefulSet puts the claim in this place.
    if blueprint.cluster.spec.storage.is_none() {
        volumes.push(Volume {
            name: DATA.into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    volumes
}

/// A shard's pods on different machines (where there is only one, on that), and in different zones if possible; the
/// first pods of all shards, which begin as masters, on different machines if possible.
fn spreading(blueprint: &Blueprint<'_>, shard: u16) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str, must: bool, labels: BTreeMap<String, String>| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: if must { "DoNotSchedule" } else { "ScheduleAnyway" }.into(),
        label_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        // A machine that takes no pods does not count.
        node_taints_policy: Some("Honor".into()),
        ..TopologySpreadConstraint::default()
    };
    let name = blueprint.name();
    let mut firsts = constraint(HOSTNAME_KEY, false, cluster_selector(name));
    firsts.match_label_keys = Some(vec![ORDINAL_LABEL.into()]);
    vec![
        constraint(HOSTNAME_KEY, true, shard_selector(name, shard)),
        constraint(ZONE_KEY, false, shard_selector(name, shard)),
        firsts,
    ]
}
